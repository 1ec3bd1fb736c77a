"""Incidents: when they begin and end, what they harmed and what was saved; hand-made counts, then a whole story."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from exacto_plugin.audit.hours.hour_counts import COLUMNS, HourCounts, counts_of
from exacto_plugin.audit.incidents.incident_paragraph import incident_sentence
from exacto_plugin.audit.incidents.incident_views import incident_list, incident_of, provider_file
from exacto_plugin.audit.incidents.incidents import LastKnownTier, incident_id, incidents
from exacto_plugin.records import TransitionRecord

if TYPE_CHECKING:
    from tests.audit.conftest import Story

HOUR = 3600.0
BEGIN = 1_000 * HOUR + 1800.0
BELOW = {
    "code": "below_threshold",
    "signal": "tool_call_success",
    "value": 0.7,
    "threshold": 0.9,
    "samples": 50,
    "needed": 20,
    "window_s": 7200.0,
    "peers": 0,
}


def change(tier: str, at: float = BEGIN, deployment: str = "d", *reasons: dict[str, Any]) -> TransitionRecord:
    """A transition of a deployment of ``g``."""
    previous = "verified_good" if tier == "deranked" else "deranked"
    return TransitionRecord(at, "g", deployment, previous, tier, reasons or (BELOW,), "s")


Row = tuple[tuple[int, str], Any]


def hour(offset: int, deployment: str = "d", **numbers: float) -> Row:
    """Counts of an hour, counted from that of the derank."""
    return (1_000 + offset, deployment), np.array([float(numbers.get(name, 0.0)) for name in COLUMNS])


def counts(*rows: Row) -> dict[str, HourCounts]:
    """Those of ``g``, for the hours of ten days around the derank."""
    return {"g": counts_of(dict(rows), 900, 1100)}


def one(*rows: Row, transitions: tuple[TransitionRecord, ...] = (change("deranked"),), now: float = BEGIN) -> Any:
    """The only incident."""
    (found,) = incidents(transitions, counts(*rows), {("g", "d"): LastKnownTier(now)}, now)
    return found


@pytest.mark.parametrize(
    ("more", "usual"),
    [
        ({"usual_calls": 0}, None),
        ({"usual_calls": 29}, None),
        ({"usual_calls": 30}, 0.0095),
        # Records of earlier versions, of which some tell that there was no call.
        ({"most_calls": 9, "called_until": None}, None),
        ({"most_calls": 9, "called_until": 1.0}, 0.0095),
        ({}, 0.0095),
    ],
)
def test_a_share_before_takes_calls(more: dict[str, Any], usual: float | None) -> None:
    """Without them it is the peers' and not the deployment's own."""
    at = {"at": BEGIN - 60.0, "earliest": BEGIN - 60.0, "latest": BEGIN, "gradual": False, "usual": 0.0095}
    counted = dict.fromkeys(COLUMNS, 0)
    found = {**at, "share": 0.2, "calls": 29, "bad": 6, "before": counted, "so_far": counted, **more}
    assert one(transitions=(replace(change("deranked"), changed=found),))["change"]["usual"] == usual


def test_counts_begin_with_the_first_bad_hour() -> None:
    """Hours before the derank count as long as they were worse than the threshold, without a gap."""
    found = one(
        hour(-3, answers=100, bad=50),
        hour(-2, answers=100, bad=10),
        hour(-1, answers=100, bad=20, schema_mismatch=15, lost=5),
        hour(0, answers=10, bad=4, schema_mismatch=1, invalid_json=3),
    )
    assert found["onset"] == 999 * HOUR
    assert (found["answers"], found["bad"], found["harmed"]) == (110, 24, 24)
    assert found["kinds"] == {"schema_mismatch": 16, "lost": 5, "invalid_json": 3}
    assert found["kind"] == "schema_mismatch"
    assert (found["open"], found["until"], found["value"]) == (True, None, 0.7)


def test_saved_is_what_was_sent_elsewhere_times_the_excess() -> None:
    """100 requests moved; 40 % of its answers were bad, 10 % of the others': 30 bad calls saved."""
    found = one(
        hour(0, answers=10, bad=4, without_tiers=110, with_tiers=10, priced=10, cost=2.0),
        hour(0, "e", answers=200, bad=20),
        hour(0, "", rescues=5, picks=310, applied=310),
        hour(-9, "e", answers=200, bad=200),
    )
    assert (found["moved"], found["saved"]) == (100, pytest.approx(30))
    assert 0 <= found["saved_low"] < 30 < found["saved_high"] <= 100
    assert found["cost_usd"] == pytest.approx(0.8)
    told = incident_sentence(found)
    for part in ("30.0 % bad, threshold 10.0 %", "(50 calls within 2 h)", "4 of its 10", "about 30 bad calls"):
        assert part in told
    assert "would" not in told


@pytest.mark.parametrize(
    ("applied", "moved", "told"),
    [
        (0, 0, "Tiers were only observed: applied, they would have sent about 100 elsewhere and saved about 30 bad"),
        (
            31,
            10,
            "Tiers sent about 10 requests elsewhere, which saved about 3 bad calls (95 %: ",
        ),
    ],
    ids=["observe", "switched"],
)
def test_what_was_only_observed_is_not_saved(applied: int, moved: int, told: str) -> None:
    """Requests to which tiers were not applied went where they would have gone without them."""
    found = one(
        hour(
            0,
            answers=10,
            bad=4,
            without_tiers=110,
            with_tiers=10,
            applied_without=1.1 * moved,
            applied_with=0.1 * moved,
        ),
        hour(
            0,
            "e",
            answers=200,
            bad=20,
            without_tiers=200,
            with_tiers=300,
            applied_without=2 * moved,
            applied_with=3 * moved,
        ),
        hour(0, "", picks=310, applied=applied),
    )
    assert (found["moved"], found["saved"]) == (pytest.approx(moved), pytest.approx(0.3 * moved))
    assert (found["would_move"], found["would_save"]) == (pytest.approx(100 - moved), pytest.approx(30 - 0.3 * moved))
    assert told in incident_sentence(found)
    assert "would" not in provider_file({**found, "provider": "", "timeline": []}, [])["summary"]


def test_the_share_since_the_derank_counts_the_hour_that_has_begun() -> None:
    """As soon as an hour began after the derank; of an ended incident whole hours count."""
    rows = [hour(-1, answers=50), hour(-1, "e", answers=150), hour(0, answers=20), hour(0, "e", answers=80)]
    assert one(*rows).get("traffic") == {"before": 0.25, "meanwhile": None, "after": None}
    rows += [hour(1, answers=1), hour(1, "e", answers=99)]
    now = 1_001 * HOUR + 600.0
    found = incidents(
        [change("deranked")], {"g": counts_of(dict(rows), 900, 1002)}, {("g", "d"): LastKnownTier(now)}, now
    )
    assert found[0]["traffic"]["meanwhile"] == 0.01
    changes = [change("deranked"), change("verified_good", now)]
    (ended,) = incidents(changes, {"g": counts_of(dict(rows), 900, 1002)}, {("g", "d"): LastKnownTier(now)}, now)
    assert ended["traffic"]["meanwhile"] is None


def test_the_share_of_the_traffic_before_and_now() -> None:
    """Of the day before the onset, and of the newest hours; not of the derank's hour, in which it still had traffic."""
    rows = [
        *(hour(number, name, answers=answers) for number in range(-9, 0) for name, answers in (("d", 30), ("e", 70))),
        *(hour(0, name, answers=100, bad=10) for name in ("d", "e")),
        *(hour(1, name, answers=answers) for name, answers in (("d", 9), ("e", 91))),
        *(hour(2, name, answers=answers) for name, answers in (("d", 1), ("e", 99))),
        *(hour(3, name, answers=answers) for name, answers in (("d", 1), ("e", 49))),
    ]
    begin = (BEGIN // HOUR) * HOUR
    early, later, latest = (
        one(*rows[:count], now=begin + at * HOUR) for count, at in ((20, 0.9), (22, 1.5), (26, 3.5))
    )
    assert [each["share_before"] for each in (early, later, latest)] == [0.3] * 3
    assert (early["share_now"], early["share_now_since"]) == (None, None)
    assert (later["share_now"], later["share_now_since"]) == (0.09, begin + HOUR)
    assert (latest["share_now"], latest["share_now_since"]) == (pytest.approx(2 / 150), begin + 2 * HOUR)


def test_it_ends_with_the_next_tier() -> None:
    """Counts end with it, and a second derank is another incident; the open one comes first."""
    rows = [hour(number, answers=10, bad=1) for number in range(6)]
    changes = (
        change("deranked"),
        change("insufficient_data", BEGIN + HOUR),
        change("verified_good", BEGIN + 2 * HOUR),
        change("deranked", BEGIN + 4 * HOUR),
    )
    now = BEGIN + 5 * HOUR
    again, first = incidents(changes, counts(*rows), {("g", "d"): LastKnownTier(now)}, now)
    assert (first["until"], first["end"], first["bad"]) == (BEGIN + HOUR, "readmitted", 2)
    assert (again["since"], again["open"], again["bad"]) == (BEGIN + 4 * HOUR, True, 2)
    assert first["id"] != again["id"] == incident_id("g", "d", BEGIN + 4 * HOUR)


def test_a_deployment_that_is_gone_has_no_open_incident() -> None:
    """Two hours without a record end it at the last one."""
    (found,) = incidents([change("deranked")], {}, {("g", "d"): LastKnownTier(BEGIN + HOUR)}, BEGIN + 4 * HOUR)
    assert (found["open"], found["until"], found["end"]) == (False, BEGIN + HOUR, "gone")


def test_a_verdict_that_began_anew_ends_an_incident() -> None:
    """A process that lost its windows puts another tier on record, without a transition; so does no older record."""
    anew = LastKnownTier(BEGIN + 2 * HOUR, "insufficient_data", BEGIN + HOUR)
    (found,) = incidents([change("deranked")], {}, {("g", "d"): anew}, BEGIN + 2 * HOUR)
    assert (found["open"], found["until"], found["end"]) == (False, BEGIN + HOUR, "restarted")
    before = LastKnownTier(BEGIN - HOUR, "verified_good", BEGIN - 2 * HOUR)
    (found,) = incidents([change("deranked")], {}, {("g", "d"): before}, BEGIN)
    assert found["open"]


def test_unknown_reasons_are_no_error() -> None:
    """A rule of another version, a slow deployment, and no reason at all are told too."""
    other = {**BELOW, "code": "probably_bad"}
    slow = {**BELOW, "signal": "throughput", "value": 10.0, "threshold": 30.0}
    found = [one(transitions=(change("deranked", BEGIN, "d", reason),)) for reason in (other, slow)]
    assert [each["signal"] for each in found] == ["tool_call_success", "throughput"]
    assert "slow answers: 10 tokens/s, threshold 30 tokens/s" in incident_sentence(found[1])
    bare = one(transitions=(TransitionRecord(BEGIN, "g", "d", "verified_good", "deranked", (), "s"),))
    assert "not on record" in incident_sentence(bare)


def test_the_incident_of_a_story(story: Story) -> None:
    """One deployment broke and is still deranked; its counts are those that the proxy wrote."""
    (found,) = incident_list(story.connection, story.now)
    assert (found["deployment"], found["open"], found["model_group"]) == ("d", True, "g")
    assert story.broke < found["since"] < story.broke + 900
    assert found["moved"] > 0
    assert incident_list(story.connection, story.now, model_group="h") == []
    assert incident_list(story.connection, story.now, until=story.broke) == []
    whole = incident_of(story.connection, found["id"], story.now)
    assert whole is not None
    assert [each["tier"] for each in whole["timeline"]] == ["deranked"]
    assert incident_of(story.connection, "nothing", story.now) is None


def test_a_provider_sees_nothing_of_others(story: Story) -> None:
    """Its own numbers, times and kinds; no other deployment, no spend, no request id."""
    (found,) = incident_list(story.connection, story.now)
    whole = incident_of(story.connection, found["id"], story.now)
    assert whole is not None
    failure = {"at": 1.0, "kind": "lost", "path": "", "request": "dec-1"}
    told = provider_file({**whole, "cost_usd": 3.0, "moved": 9.0}, [failure])
    assert told["failures"] == [{"at": 1.0, "kind": "lost", "path": ""}]
    assert not {"cost_usd", "moved", "saved", "others_rate", "reasons"} & told.keys()
    assert "$" not in told["summary"]
    assert "elsewhere" not in told["summary"]
    assert told["timeline"][0]["to"] == "deranked"
