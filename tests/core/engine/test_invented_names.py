"""Names that requests invent: a small table of their own, which no configured deployment's evidence depends on."""

from __future__ import annotations

import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.engine.state import MOST_NAME
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.windows import deltas
from exacto_plugin.core.windows.deltas import Deltas
from exacto_plugin.core.windows.slots import INVENTED
from exacto_plugin.core.windows.windows import ROWS
from tests.support.samples import START, tiers_of

NAMES = tuple(map(DeploymentKey, ("a", "b", "bad")))
FLOOD = 6 * INVENTED


def engine_of(capacity: int = 2 * INVENTED) -> Engine:
    """An engine with one configured group, which has tiers, and room for fewer deployments than a flood has."""
    engine = Engine(AdaptivePreset(), capacity=capacity, is_configured=lambda group: group == "g")
    engine.observe_peers("g", NAMES, START)
    for number in range(400):
        for name in NAMES:
            outcome = Outcome.INVALID_JSON if name == "bad" and number % 3 == 0 else Outcome.VALID
            engine.record(Sample("g", name, START, tools_offered=True, outcome=outcome, caller=f"k{number % 10}"))
    engine.recompute(START + 60)
    return engine


def invent(engine: Engine, number: int, at: float, *, ok: bool = True, group: str = "") -> None:
    """One request for a name that nobody has used before, or a deployment of a configured group."""
    engine.record(Sample(group or f"wild/{number}", DeploymentKey(f"wild-{number}"), at, ok=ok))


def flood(engine: Engine, *, ok: bool = True, group: str = "") -> float:
    """Many invented names over an hour, with a recompute every 5 minutes; returns the time."""
    now = START + 60
    for number in range(FLOOD):
        invent(engine, number, now, ok=ok, group=group)
        if number % (FLOOD // 12) == 0:
            now += 300
            for name in engine.groups():
                engine.observe_peers(name, NAMES if name == "g" else engine._state.slots.of(name), now)
            engine.recompute(now)
    return now


@pytest.mark.parametrize("group", ["", "g"], ids=["model names", "deployments of a configured group"])
def test_a_flood_leaves_configured_evidence_untouched(group: str) -> None:
    """Windows, tiers and what is remembered of configured deployments are as without it; the table stays small."""
    flooded, calm = engine_of(), engine_of()
    now = flood(flooded, group=group)
    calm.recompute(now)
    flooded.recompute(now)
    for name in NAMES:
        assert flooded.dump_windows("g")[name] == calm.dump_windows("g")[name]
    assert {name: tier for name, tier in tiers_of(flooded).items() if name in NAMES} == tiers_of(calm)
    assert tiers_of(flooded)["bad"] is Tier.DERANKED
    assert len(flooded._state.slots) <= INVENTED + len(NAMES)
    assert len(flooded._state.windows.blocks) <= 2 * INVENTED // ROWS + 2


def test_failures_open_no_slot() -> None:
    """A name that has never been answered leaves nothing behind; one that has counts its failures."""
    engine = engine_of()
    flood(engine, ok=False)
    assert engine.groups() == ("g",)
    invent(engine, 1, START)
    invent(engine, 1, START, ok=False)
    (dump,) = engine.copy_windows("wild/1").values()
    assert [counts for counts, _ in dump.minutes.values()] == [{0: 1, 1: 1, 13: 1}]


def test_the_latest_names_stay() -> None:
    """Invented names take slots from each other, the least recently used first."""
    engine = engine_of()
    for number in range(INVENTED + 10):
        invent(engine, number, START + 60)
    assert f"wild/{INVENTED + 9}" in engine.groups()
    assert "wild/0" not in engine.groups()
    engine.recompute(START + 120)
    assert "wild/0" not in engine.snapshot.groups


def test_a_group_that_lost_its_slots_is_gone_from_snapshots() -> None:
    """Also where it was observed before, and it does not come back by itself."""
    engine = engine_of()
    invent(engine, 0, START + 60)
    engine.observe_peers("wild/0", [DeploymentKey("wild-0"), DeploymentKey("never asked")], START + 60)
    engine.recompute(START + 60)
    assert set(engine.snapshot.groups["wild/0"].verdicts) == {"wild-0", "never asked"}
    for number in range(1, INVENTED + 10):
        invent(engine, number, START + 60)
    engine.recompute(START + 120)
    engine.recompute(START + 180)
    assert set(engine.snapshot.groups) == {"g"}


def test_an_invented_group_is_not_observed_without_an_answer() -> None:
    """Asking for it is not enough."""
    engine = engine_of()
    engine.observe_peers("wild/0", [DeploymentKey("x")], START)
    assert engine.groups() == ("g",)


def test_long_names_get_no_slot() -> None:
    """Their length would be the inventor's choice."""
    engine = engine_of()
    engine.record(Sample("w" * (MOST_NAME + 1), DeploymentKey("x"), START))
    engine.record(Sample("w" * MOST_NAME, DeploymentKey("x"), START))
    assert [len(group) for group in engine.groups()] == [1, MOST_NAME]


def test_a_name_that_is_configured_later_keeps_its_evidence() -> None:
    """And is safe from then on."""
    configured = {"g"}
    engine = Engine(AdaptivePreset(), is_configured=configured.__contains__)
    invent(engine, 0, START)
    configured.add("wild/0")
    engine.observe_peers("wild/0", [DeploymentKey("wild-0")], START)
    for number in range(1, 2 * INVENTED):
        invent(engine, number, START)
    (dump,) = engine.copy_windows("wild/0").values()
    assert [counts for counts, _ in dump.minutes.values()] == [{0: 1, 13: 1}]


def test_state_and_deltas_of_others_open_no_more_slots() -> None:
    """What replicas and earlier runs know of invented names is bounded as well."""
    engine, other = engine_of(), Engine(AdaptivePreset())
    other.deltas = Deltas()
    for number in range(FLOOD):
        invent(other, number, START, ok=number % 2 == 0)
    engine.add_deltas(other.deltas.take())
    engine.load(other.dump())
    for group in other.groups()[: 2 * INVENTED]:
        engine.load_windows(group, other.dump_windows(group))
    assert len(engine._state.slots) <= INVENTED + len(NAMES)
    assert not engine._state.windows.blocks[0].seen[0]


def test_invented_deltas_push_out_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody takes them."""
    monkeypatch.setattr(deltas, "INVENTED", 50)
    engine = Engine(AdaptivePreset(), is_configured=lambda group: group == "g")
    engine.deltas = Deltas(capacity=60)
    engine.record(Sample("g", DeploymentKey("a"), START))
    for number in range(200):
        invent(engine, number, START)
    taken = engine.deltas.take()
    assert len(taken) == 51
    assert taken[0].model_group == "g"
