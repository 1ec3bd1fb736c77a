"""An incident against the log of the calls that were made: onset, shares, kinds, traffic and what tiers saved.

A deployment breaks within an hour and is repaired hours later; the log is the test's own.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from exacto_plugin.audit.incidents.incident_paragraph import incident_sentence
from exacto_plugin.audit.incidents.incident_sentences import traffic_words
from exacto_plugin.audit.incidents.incident_views import incident_list, incident_of
from exacto_plugin.audit.queries import recorded_report
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample, Tier
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import insert_all
from tests.litellm_hooks.runtime.test_recorder import NAMES, World, asked, attempt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

BREAKS, FIXED, ENDS = 6 * 60 + 23, 9 * 60 + 10, 14 * 60
"""Minutes of the story."""
PER_MINUTE = 24
AFTER_S = 1.25
"""Seconds from the last call to a recompute."""
USUAL, BROKEN = 0.01, 0.25


class Call(NamedTuple):
    """One answer of the log."""

    at: float
    deployment: str
    bad: str
    """Kind of the bad call; empty for a good one."""


class Told(NamedTuple):
    """What happened, and the store that it was written to."""

    connection: Connection
    begin: float
    now: float
    log: list[Call]

    def calls(self, since: float, until: float, name: str = "d") -> list[Call]:
        """Those of a deployment in a time range."""
        return [call for call in self.log if call.deployment == name and since <= call.at < until]


async def _serve(world: World, log: list[Call]) -> None:
    """Requests of each minute go to the tiers' pool, and a few to the deranked one as probes."""
    draw = random.Random(11)
    world.now -= AFTER_S
    for minute in range(ENDS):
        verdicts = world.runtime.engine.snapshot.groups.get("g")
        good = [
            name for name in NAMES if verdicts is None or verdicts.verdicts[DeploymentKey(name)].tier != Tier.DERANKED
        ]
        for number in range(PER_MINUTE):
            world.now += 60.0 / PER_MINUTE
            out = "d" not in good and number < 2
            name = "d" if out else draw.choice(good)
            world.runtime.recorder.record_decision(*asked(*(("d",) if out else good)))
            failing = BROKEN if name == "d" and BREAKS <= minute < FIXED else USUAL if minute < FIXED else 0.0
            bad = draw.choice(("schema_mismatch", "invalid_json")) if draw.random() < failing else ""
            log.append(Call(world.now, name, bad))
            outcome = Outcome(bad or "valid")
            sample = Sample(
                "g", DeploymentKey(name), world.now, tools_offered=True, outcome=outcome, probe=out, caller=str(number)
            )
            made = attempt(name, verdict=outcome.value)
            world.runtime.samples.record_direct_call(sample)
            world.runtime.samples.record(sample, made.candidate)
            world.runtime.recorder.record_answer(None, made, tools=True, bad=bool(bad))
        if minute % 5 == 4:
            world.now += AFTER_S - 300.0
            await world.recompute()
            world.now -= AFTER_S
            world.runtime.recorder.flush()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The story on record."""
    world = World()
    log: list[Call] = []
    begin = world.now
    asyncio.run(_serve(world, log))
    url = f"sqlite:///{tmp_path_factory.mktemp('truth')}/records.sqlite"
    with connect(location_of_url(url), writing=True) as connection:
        with connection.begin():
            insert_all(connection, world.kept)
        yield Told(connection, begin, world.now, log)
        connection.rollback()


@pytest.fixture
def incident(told: Told) -> dict[str, Any]:
    """The only incident."""
    (found,) = incident_list(told.connection, told.now)
    assert found["deployment"] == "d"
    return found


def bad_of(calls: list[Call]) -> int:
    """Number of bad ones."""
    return sum(bool(call.bad) for call in calls)


def test_onset_and_repair_are_those_of_the_log(told: Told, incident: dict[str, Any]) -> None:
    """Both within five minutes, though it was deranked and readmitted later."""
    broke, fixed = told.begin + 60.0 * BREAKS, told.begin + 60.0 * FIXED
    assert abs(incident["onset"] - broke) <= 300.0
    assert incident["change"]["earliest"] <= broke <= incident["change"]["latest"]
    assert incident["since"] > broke
    probes = [call for call in told.calls(fixed - 1800.0, fixed) if call.bad]
    assert abs(incident["recovered"]["at"] - fixed) <= 300.0 or incident["recovered"]["at"] > probes[-1].at - 60.0
    assert incident["recovered"]["at"] < incident["until"]


def test_shares_and_kinds_are_those_of_the_log(told: Told, incident: dict[str, Any]) -> None:
    """Calls from the onset on, to the call; none from before and none from after the end."""
    onset = incident["onset"]
    first = told.calls(onset, incident["since"])
    assert (incident["change"]["calls"], incident["change"]["bad"]) == (len(first), bad_of(first))
    whole = told.calls(onset, incident["until"])
    assert (incident["calls"], incident["answers"]) == (len(whole), len(whole))
    assert incident["bad"] == bad_of(whole)
    kinds = {kind: sum(call.bad == kind for call in whole) for kind in ("schema_mismatch", "invalid_json")}
    assert incident["kinds"] == kinds
    sentence = incident_sentence(incident)
    assert f"({bad_of(first)} of {len(first)})" in sentence
    assert all(
        words in sentence
        for words in (
            "had arguments against the schema",
            "had arguments that are not JSON",
            "became good again between",
        )
    )


def test_traffic_is_that_of_the_log(told: Told, incident: dict[str, Any]) -> None:
    """Its share of the answers before, meanwhile and after, by whole hours."""
    hour = 3600.0
    times = {
        "before": (0.0, incident["onset"] // hour * hour),
        "meanwhile": (-(-incident["since"] // hour) * hour, incident["until"] // hour * hour),
        "after": (-(-incident["until"] // hour) * hour, told.now + 1.0),
    }
    for name, (begin, end) in times.items():
        everyone = sum(len(told.calls(begin, end, one)) for one in NAMES)
        assert incident["traffic"][name] == pytest.approx(len(told.calls(begin, end)) / everyone), name
    assert "while it was deranked" in traffic_words(incident)


def test_what_was_saved_is_one_number(told: Told, incident: dict[str, Any]) -> None:
    """The incident, the report's difference, and what the log's rates come to."""
    (group,) = recorded_report(told.connection, told.begin, told.now)
    saved = group["bad"]["saved"]["value"]
    assert saved == pytest.approx(incident["saved"], rel=0.05)
    out = [
        call for call in told.log if incident["since"] <= call.at < min(incident["until"], told.begin + 60.0 * FIXED)
    ]
    truth = (BROKEN - USUAL) * sum(0.25 - (call.deployment == "d") for call in out)
    assert group["bad"]["saved"]["low"] <= truth <= group["bad"]["saved"]["high"]
    everything = [call for call in told.log if incident["since"] <= call.at < incident["until"]]
    assert incident["moved"] == pytest.approx(sum(0.25 - (call.deployment == "d") for call in everything), rel=0.02)
    assert group["bad"]["with"]["value"] == pytest.approx(bad_of(told.log), rel=0.05)


def test_a_reader_finds_it_a_week_later(told: Told, incident: dict[str, Any]) -> None:
    """The windows are long gone; the record tells the same."""
    later = incident_of(told.connection, incident["id"], told.now + 7 * 86_400.0)
    assert later is not None
    names = ("onset", "change", "recovered", "bad", "calls", "kinds", "saved", "moved")
    assert {name: later[name] for name in names} == {name: incident[name] for name in names}
