"""Time series: what was on record at each step, sums of hours, and bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.audit import queries
from exacto_plugin.audit.incidents.common_causes import common_causes
from exacto_plugin.audit.incidents.incident_views import incident_list
from exacto_plugin.audit.series import group_series, hourly_counts
from exacto_plugin.records import DeploymentRecord, HourRecord, ReferenceRecord, TransitionRecord
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import insert_all

if TYPE_CHECKING:
    from exacto_plugin.records import Record
    from tests.audit.conftest import Story
    from tests.support.postgresql_server import Cluster

BEGIN_S = 3 * 3600.0


def test_each_step_shows_what_was_known_then(story: Story) -> None:
    """Tier, value and references are those that ``why`` finds for the same time."""
    found = group_series(story.connection, "g", story.now - BEGIN_S, story.now)
    assert len(found["times"]) == 120
    assert set(found["deployments"]) == {"a", "b", "c", "d"}
    line = found["deployments"]["d"]
    for number in range(0, 120, 7):
        at = found["times"][number] - 1e-3
        record = queries.tier_at(story.connection, "g", "d", at)
        known = None if record is None else record.tier
        assert line["tier"][number] == known
        value = None if record is None else record.signals["tool_call_success"][0]
        assert line["signals"]["tool_call_success"]["value"][number] == value
        kept = queries.references_at(story.connection, "g", at).get("tool_call_success")
        threshold = None if kept is None else kept.threshold
        assert found["references"]["tool_call_success"]["threshold"][number] == threshold
    assert [one["tier"] for one in found["changes"] if one["deployment"] == "d"] == ["verified_good", "deranked"]


def test_a_long_time_has_few_points(story: Story) -> None:
    """30 days and 20 points: bounded lines, and nothing where nothing was on record."""
    found = group_series(story.connection, "g", story.now - 30 * 86_400.0, story.now, points=20)
    line = found["deployments"]["d"]["tier"]
    assert len(found["times"]) == len(line) == 20
    assert (line[0], line[-1]) == (None, "deranked")
    assert len(found["hours"]["times"]) <= 20


def test_a_short_time_begins_with_what_was_known_before(story: Story) -> None:
    """Records are written once an hour where nothing changes: ten minutes still show a line."""
    found = group_series(story.connection, "g", story.now - 600.0, story.now)
    assert set(found["deployments"]["a"]["tier"]) == {"verified_good"}
    assert found["step_s"] == 10.0


def test_nothing_on_record_is_empty(story: Story) -> None:
    """Another group has no lines, and the time is still divided."""
    found = group_series(story.connection, "nothing", story.now - 600.0, story.now)
    assert (found["deployments"], found["references"], len(found["times"])) == ({}, {}, 60)


def test_hours_add_up_over_workers(story: Story) -> None:
    """Sums equal those of the records, whatever the step."""
    at = story.now // 3600 * 3600
    rows = [
        HourRecord(at - 3600.0 * hour, "w", name, worker, {"answers": 10.0, "bad": hour + 1.0, "lost": 1.0})
        for hour in range(5)
        for name in ("a", "", "b")
        for worker in ("one", "two")
    ]
    with story.connection.begin_nested():
        insert_all(story.connection, rows)
    for points in (1, 2, 3, 120):
        found = hourly_counts(story.connection, "w", at - 4 * 3600.0, at + 1800.0, points)
        assert len(found["times"]) <= max(points, 1)
        assert set(found["deployments"]) == {"a", "b"}
        totals = {name: sum(line) for name, line in found["deployments"]["a"].items()}
        assert (totals["answers"], totals["bad"], totals["lost"]) == (100, 30, pytest.approx(10))
    story.connection.rollback()


def test_the_hour_that_has_begun_ends_now() -> None:
    """Its counts are those of a part of an hour; of a time that is over, all hours are whole."""
    with connect(location_of_url("sqlite://"), writing=True) as connection, connection.begin():
        insert_all(
            connection, [HourRecord(3600.0 * hour, "g", "a", "w", {"answers": 9.0, "calls": 8.0}) for hour in range(9)]
        )
        running = group_series(connection, "g", 0.0, 30_000.0, now=30_000.0)["hours"]
        over = group_series(connection, "g", 0.0, 30_000.0, now=90_000.0)["hours"]
    assert (running["times"][-1], running["until"]) == (28_800.0, 30_000.0)
    assert over["until"] == 32_400.0
    assert running["deployments"]["a"]["calls"] == [8.0] * 9


def test_common_causes_are_told_once_each() -> None:
    """As the newest record tells them; one that no record ends ended when the next one began."""
    told = [(1000.0, None), (1000.0, None), (2000.0, None), (2000.0, 2500.0)]
    rows = [
        DeploymentRecord("s", 3000.0 + at, "g", name, "p", "verified_good", 0.0, [event(*told[at])], {}, "change")
        for at in range(len(told))
        for name in ("a", "b")
    ]
    with connect(location_of_url("sqlite://"), writing=True) as connection, connection.begin():
        insert_all(connection, rows)
        found = group_series(connection, "g", 0.0, 4000.0)["common_causes"]
        later = group_series(connection, "g", 2200.0, 4000.0)["common_causes"]
        assert [(group, one["begin"]) for group, one in common_causes(connection, 0.0, 4000.0)] == [
            ("g", 2000.0),
            ("g", 1000.0),
        ]
    assert [(one["begin"], one["end"]) for one in found] == [(1000.0, 2000.0), (2000.0, 2500.0)]
    assert [one["begin"] for one in later] == [2000.0]


def event(begin: float, end: float | None) -> dict[str, Any]:
    """A common cause as a reason."""
    return {"code": "common_cause", "signal": None, "begin": begin, "end": end, "value": 0.1, "peers": 3}


def test_both_databases_agree(postgresql: Cluster) -> None:
    """The same records give the same series from PostgreSQL and from SQLite."""
    numbers = {"answers": 7.0, "bad": 2.5, "cost": 1e-7}
    signals = {"tool_call_success": [0.5, 7]}
    own = {"step": 0.01, "convicts_above": 0.05, "acquits_below": 0.02, "next_step": {}, "by_price": False}
    reasons: list[dict[str, Any]] = [
        {"code": "capacity", "signal": "throughput"},
        {"signal": "tool_call_success", "strictness": own},
        {"code": "common_cause", "begin": 9000.0, "end": None, "value": 0.1, "peers": 3},
    ]
    rows: list[Record] = [
        *(HourRecord(3600.0 * hour, "g", "a", worker, numbers) for hour in range(9) for worker in "vw"),
        *(
            DeploymentRecord(
                "s", 1000.0 * at, "g", "a", "p", "deranked", 0.0, reasons if at < 20 else [], signals, "change"
            )
            for at in range(30)
        ),
        *(ReferenceRecord("s", 900.0 * at, "g", "tool_call_success", 0.9, None, 0.8, 4, "", "") for at in range(30)),
        TransitionRecord(5000.0, "g", "a", "verified_good", "deranked", [], "s"),
    ]
    found = []
    for url in ("sqlite://", postgresql.fresh()):
        with connect(location_of_url(url), writing=True) as connection, connection.begin():
            insert_all(connection, rows)
            one = group_series(connection, "g", 7000.0, 27_000.0, 7)
            found.append((one, incident_list(connection, 27_000.0), common_causes(connection, 7000.0, 27_000.0)))
    assert found[0] == found[1]
    assert [("g", each) for each in found[0][0]["common_causes"]] == found[0][2]
    assert [each["begin"] for _, each in found[0][2]] == [9000.0]
    assert sum(found[0][0]["hours"]["deployments"]["a"]["bad"]) == 2.5 * 2 * 7
    thresholds = found[0][0]["deployments"]["a"]["thresholds"]
    assert thresholds["convicts_above"] == [0.05] * 4 + [None] * 3
    assert set(thresholds["acquits_below"]) == {0.02, None}
