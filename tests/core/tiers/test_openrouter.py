"""The published rule: its numbers, its verdicts on real tables, and what it needs before it judges."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import (
    BenchmarkScores,
    DeploymentKey,
    Reason,
    ReasonCode,
    Reference,
    Signal,
    SignalValue,
    Tier,
)
from exacto_plugin.core.stats.log_bins import BINS, bin_of
from exacto_plugin.core.stats.peers import MAD_TO_SD
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters, OpenRouterPreset
from exacto_plugin.core.windows.increments import CounterKind, HistogramKind
from tests.support.samples import START, tiers_of

ENGINES = {"vLLM", "SGLang"}
"""Rows of the K2 Vendor Verifier tables that are no hosts."""


def engine_of(
    calls: dict[str, tuple[int, int]] | None = None,
    speeds: dict[str, tuple[int, float]] | None = None,
    rule: OpenRouterParameters | None = None,
) -> Engine:
    """An engine in which deployments of group ``g`` had (tool calls, bad ones) and (answers, tokens/s)."""
    calls, speeds = calls or {}, speeds or {}
    engine = Engine(rule or OpenRouterParameters())
    engine.observe_peers("g", map(DeploymentKey, {**calls, **speeds}), START)
    for name, (called, bad) in calls.items():
        counts = {
            CounterKind.ANSWERED: called,
            CounterKind.OFFERED: called,
            CounterKind.CALLED: called,
            CounterKind.SCHEMA_MISMATCH: bad,
        }
        engine.add("g", DeploymentKey(name), counts, {}, START)
    for name, (answers, speed) in speeds.items():
        cell = HistogramKind.SPEED_STREAMED * BINS + bin_of(speed)
        engine.add(
            "g",
            DeploymentKey(name),
            {CounterKind.ANSWERED: answers, CounterKind.TIMED: answers},
            {cell: answers},
            START,
        )
    engine.recompute(START)
    return engine


def table(date: str) -> dict[str, tuple[int, int]]:
    """Tool calls and bad ones per host, from a K2 Vendor Verifier table."""
    text = files("exacto_plugin").joinpath(f"data/k2vv/kimi-k2-0905_{date}.json").read_text(encoding="utf-8")
    return {
        row["provider"]: (row["tool_calls"], row["tool_calls"] - row["valid_tool_calls"])
        for row in json.loads(text)["providers"]
        if row["provider"] not in ENGINES
    }


def deranked(engine: Engine) -> set[str]:
    """The deployments of the last tier."""
    return {name for name, tier in tiers_of(engine).items() if tier is Tier.DERANKED}


def test_published_numbers() -> None:
    """The defaults are what OpenRouter documents."""
    rule = OpenRouterParameters()
    assert (rule.throughput_deviations, rule.throughput_requests, rule.throughput_window_s) == (1.5, 100, 30 * 60)
    assert (rule.tool_call_deviations, rule.tool_call_requests, rule.tool_call_window_s) == (2.0, 200, 2 * 3600)
    assert rule.min_peers == 4


@pytest.mark.parametrize(
    ("date", "hosts", "flagged"),
    [
        ("2025-09-22", 11, set()),
        ("2025-10-10", 14, set()),
        ("2025-11-15", 14, {"Chutes", "Volc", "Baseten", "AtlasCloud", "Together", "Nebius"}),
    ],
)
def test_real_tables(date: str, hosts: int, flagged: set[str]) -> None:
    """Of three real tables the rule deranks six hosts in one and nobody where the bad ones are the majority.

    That holds whether or not the few hosts with less than 200 tool calls take part.
    """
    calls = table(date)
    everybody = engine_of(calls, rule=replace(OpenRouterParameters(), tool_call_requests=1))
    assert everybody.snapshot.groups["g"].references[Signal.TOOL_CALL_SUCCESS].peers == hosts
    assert deranked(everybody) == flagged
    measured = {name for name, (called, _) in calls.items() if called >= 200}
    tiers = tiers_of(engine_of(calls))
    assert {name for name, tier in tiers.items() if tier is Tier.DERANKED} == flagged
    assert {name for name, tier in tiers.items() if tier is Tier.VERIFIED_GOOD} == measured - flagged


def test_reference_of_a_real_table() -> None:
    """Median and MAD of 2025-11-15 are 99.885 % and 0.115 points, and the threshold lies two deviations below."""
    reference = engine_of(table("2025-11-15")).snapshot.groups["g"].references[Signal.TOOL_CALL_SUCCESS]
    assert reference.peers == 14
    assert reference.median == pytest.approx(0.998851, abs=1e-6)
    assert reference.mad == pytest.approx(0.001149, abs=1e-6)
    assert reference.threshold == pytest.approx(0.998851 - 2 * MAD_TO_SD * 0.001149, abs=1e-5)


def test_lost_calls_count_only_where_somebody_asked_for_it() -> None:
    """As published they are invisible; counted, they derank who loses a quarter of its calls."""
    for preset, flagged in ((OpenRouterParameters(), set()), (OpenRouterPreset(counts_lost=True), {"e"})):
        engine = Engine(preset)
        engine.observe_peers("g", map(DeploymentKey, "abcde"), START)
        for name in "abcde":
            lost = 100 if name == "e" else 0
            counts = {
                CounterKind.ANSWERED: 400,
                CounterKind.OFFERED: 400,
                CounterKind.CALLED: 400 - lost,
                CounterKind.LOST: lost,
            }
            engine.add("g", DeploymentKey(name), counts, {}, START)
        engine.recompute(START)
        assert deranked(engine) == flagged
        value = engine.snapshot.groups["g"].verdicts[DeploymentKey("e")].signals[Signal.TOOL_CALL_SUCCESS]
        assert (value.samples, value.value) == ((400, 0.75) if flagged else (300, 1.0))


CALLS = {"a": (400, 4), "b": (500, 8), "c": (300, 6), "d": (600, 15), "e": (250, 50)}


def test_reasons_carry_the_numbers() -> None:
    """Verdicts say value, threshold, samples, needed and window, for the good and the deranked alike."""
    verdicts = engine_of(CALLS).snapshot.groups["g"].verdicts
    few = Reason(ReasonCode.TOO_FEW_SAMPLES, Signal.THROUGHPUT, None, None, 0, 100, 1800.0)
    limit = verdicts[DeploymentKey("a")].reasons[1].threshold
    assert limit == pytest.approx(0.98 - 2 * MAD_TO_SD * 0.005)
    good = Reason(ReasonCode.WITHIN_THRESHOLD, Signal.TOOL_CALL_SUCCESS, 0.99, limit, 400, 200, 7200.0)
    bad = Reason(ReasonCode.BELOW_THRESHOLD, Signal.TOOL_CALL_SUCCESS, 0.8, limit, 250, 200, 7200.0)
    assert (verdicts[DeploymentKey("a")].tier, verdicts[DeploymentKey("a")].reasons) == (
        Tier.VERIFIED_GOOD,
        (few, good),
    )
    assert (verdicts[DeploymentKey("e")].tier, verdicts[DeploymentKey("e")].reasons) == (Tier.DERANKED, (few, bad))
    assert verdicts[DeploymentKey("a")].signals == {
        Signal.THROUGHPUT: SignalValue(None, 0),
        Signal.TOOL_CALL_SUCCESS: SignalValue(0.99, 400),
    }


def test_fewer_than_four_peers_derank_nobody() -> None:
    """Three deployments with data: the bad one keeps its place, and the reason names the peers."""
    engine = engine_of({"a": (400, 0), "b": (400, 0), "c": (400, 200), "d": (199, 0)})
    assert deranked(engine) == set()
    assert tiers_of(engine)["d"] is Tier.INSUFFICIENT_DATA
    reason = engine.snapshot.groups["g"].verdicts[DeploymentKey("c")].reasons[1]
    assert reason == Reason(ReasonCode.TOO_FEW_PEERS, Signal.TOOL_CALL_SUCCESS, 0.5, None, 400, 4, 7200.0, peers=3)


def test_a_group_with_too_few_measured_deployments_has_no_tiers() -> None:
    """The first of seven with enough calls, a bad one, is not put before the others; with four, each is judged."""
    calls = {"a": (400, 140), **dict.fromkeys("bcdefg", (150, 1))}
    engine = engine_of(calls)
    assert set(tiers_of(engine).values()) == {Tier.INSUFFICIENT_DATA}
    reason = engine.snapshot.groups["g"].verdicts[DeploymentKey("a")].reasons[1]
    assert reason == Reason(ReasonCode.TOO_FEW_PEERS, Signal.TOOL_CALL_SUCCESS, 0.65, None, 400, 4, 7200.0, peers=1)
    tiers = tiers_of(engine_of({**calls, **dict.fromkeys("bcd", (200, 1))}))
    assert tiers == {
        "a": Tier.DERANKED,
        **dict.fromkeys("bcd", Tier.VERIFIED_GOOD),
        **dict.fromkeys("efg", Tier.INSUFFICIENT_DATA),
    }
    earlier = tiers_of(engine_of(calls, rule=OpenRouterParameters(verify_peers=1)))
    assert earlier == {"a": Tier.VERIFIED_GOOD, **dict.fromkeys("bcdefg", Tier.INSUFFICIENT_DATA)}


def test_a_signal_with_too_few_peers_is_not_required() -> None:
    """While two have enough tool calls to compare, throughput alone verifies, the same for each deployment."""
    speeds = dict.fromkeys("abcd", (200, 60.0))
    engine = engine_of({"a": (400, 0), "b": (400, 0), "c": (20, 0), "d": (20, 0)}, speeds)
    assert set(tiers_of(engine).values()) == {Tier.VERIFIED_GOOD}


@pytest.mark.parametrize(("called", "tier"), [(199, Tier.INSUFFICIENT_DATA), (200, Tier.DERANKED)])
def test_data_needed(called: int, tier: Tier) -> None:
    """A bad deployment is judged from its 200th tool-call answer on."""
    engine = engine_of({**dict.fromkeys("abcd", (300, 0)), "bad": (called, 100)})
    assert tiers_of(engine)["bad"] is tier


@pytest.mark.parametrize(("bad", "tier"), [(1, Tier.VERIFIED_GOOD), (250, Tier.DERANKED)])
def test_flawless_peers(bad: int, tier: Tier) -> None:
    """Among peers that never fail, 99.9 % is good and 75 % is deranked, although the MAD is 0."""
    assert tiers_of(engine_of({**dict.fromkeys("abcd", (1000, 0)), "x": (1000, bad)}))["x"] is tier


def test_throughput_is_one_sided() -> None:
    """The slow one is deranked, the equally far fast one is not."""
    speeds = {"slow": (100, 20.0), "a": (100, 55.0), "b": (100, 60.0), "c": (100, 66.0), "fast": (100, 180.0)}
    engine = engine_of(speeds=speeds)
    assert deranked(engine) == {"slow"}
    reason = engine.snapshot.groups["g"].verdicts[DeploymentKey("slow")].reasons[0]
    assert (reason.code, reason.samples, reason.window_s) == (ReasonCode.BELOW_THRESHOLD, 100, 1800.0)


def test_an_outlier_on_one_signal_is_enough() -> None:
    """Perfect calls do not save a slow deployment; a signal with data must be measured before one is verified."""
    calls = dict.fromkeys(("a", "b", "c", "d", "slow"), (300, 0))
    speeds = {"a": (100, 60.0), "b": (120, 64.0), "c": (100, 58.0), "slow": (200, 20.0), "d": (99, 60.0)}
    tiers = tiers_of(engine_of(calls, speeds))
    assert tiers == {
        **dict.fromkeys("abc", Tier.VERIFIED_GOOD),
        "slow": Tier.DERANKED,
        "d": Tier.INSUFFICIENT_DATA,
    }


def test_benchmark_has_its_own_baseline() -> None:
    """Scores are compared with the given threshold, need their questions and four peers, and verify nobody."""
    scores = {DeploymentKey(name): SignalValue(0.8, 60) for name in "abcd"}
    scores |= {DeploymentKey("e"): SignalValue(0.6, 60), DeploymentKey("f"): SignalValue(0.5, 49)}
    engine = engine_of(dict.fromkeys("abcdef", (400, 4)))
    assert deranked(engine) == set()
    engine.observe_scores("g", BenchmarkScores(scores, baseline=0.8, threshold=0.7, needed=50))
    engine.recompute(START)
    assert deranked(engine) == {"e"}
    group = engine.snapshot.groups["g"]
    assert group.references[Signal.BENCHMARK] == Reference(Signal.BENCHMARK, 0.8, None, 0.7, 5)
    assert [reason.code for reason in group.verdicts[DeploymentKey("f")].reasons][-1] is ReasonCode.TOO_FEW_SAMPLES
    few = {name: score for name, score in scores.items() if name in "abe"}
    engine.observe_scores("g", BenchmarkScores(few, baseline=0.8, threshold=0.7, needed=50))
    engine.recompute(START)
    assert deranked(engine) == set()
    engine.observe_scores("g", None)
    engine.recompute(START)
    assert Signal.BENCHMARK not in engine.snapshot.groups["g"].references


def test_numbers_can_be_changed() -> None:
    """Every number is the rule's: with 5 deviations and 2 peers other verdicts come out."""
    lenient = replace(OpenRouterParameters(), tool_call_deviations=40.0)
    assert deranked(engine_of(CALLS)) == {"e"}
    assert deranked(engine_of(CALLS, rule=lenient)) == set()
    three = {"a": (400, 0), "b": (400, 0), "c": (400, 200)}
    assert deranked(engine_of(three, rule=replace(OpenRouterParameters(), min_peers=3))) == {"c"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_peers", 0),
        ("tool_call_requests", 0),
        ("tool_call_requests", 10**400),
        ("throughput_window_s", 1.0),
        ("tool_call_deviations", -1.0),
    ],
)
def test_numbers_out_of_range(name: str, value: float) -> None:
    """A number that makes no sense is refused by its name."""
    with pytest.raises(ValueError, match=name):
        OpenRouterParameters(**{name: value})  # type: ignore[arg-type]


def test_settings_can_embed_the_rule() -> None:
    """As a pydantic field it takes known numbers and refuses unknown keys and bad ranges."""
    adapter = TypeAdapter(OpenRouterParameters)
    assert adapter.validate_python({"min_peers": 3}) == replace(OpenRouterParameters(), min_peers=3)
    for wrong in ({"min_peer": 3}, {"min_peers": 0}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


@given(
    st.dictionaries(
        st.sampled_from("abcdefghij"), st.tuples(st.integers(0, 500), st.integers(0, 100)), min_size=1, max_size=10
    )
)
def test_verdicts_agree_with_the_rule_spelled_out(rates: dict[str, tuple[int, int]]) -> None:
    """For any group: derank iff below the threshold of at least four peers, good iff judged and not deranked."""
    calls = {name: (called, min(bad, called)) for name, (called, bad) in rates.items()}
    engine = engine_of(calls)
    reference = engine.snapshot.groups["g"].references[Signal.TOOL_CALL_SUCCESS]
    judged = {name: 1 - bad / called for name, (called, bad) in calls.items() if called >= 200}
    assert reference.peers == len(judged)
    assert (reference.threshold is None) == (len(judged) < 4)
    for name, tier in tiers_of(engine).items():
        if name not in judged or reference.threshold is None:
            assert tier is Tier.INSUFFICIENT_DATA
        elif judged[name] > reference.threshold + 1e-12:
            assert tier is Tier.VERIFIED_GOOD
        elif judged[name] < reference.threshold - 1e-12:
            assert tier is Tier.DERANKED
