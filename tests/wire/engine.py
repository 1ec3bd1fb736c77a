"""What the engine keeps: numbers of counters and columns, its state, and what recomputes are verified by."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import BenchmarkScores, Blame, DeploymentKey, Flaw, Outcome, Sample, SignalValue, Tier
from exacto_plugin.core.stats.log_bins import bin_of
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.adaptive.state import BENCHMARK, ERRORS, PROPENSITY, SLOW, VERIFIER
from exacto_plugin.core.tiers.checkpoints import ChangeDetector
from exacto_plugin.core.tiers.openrouter import OpenRouterPreset
from exacto_plugin.core.tiers.replay import encode, preset_as_plain
from exacto_plugin.core.windows.increments import caller_number, increments_of
from exacto_plugin.litellm_hooks.runtime.recorder import digest
from tests.wire.plain import inflated, shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.core.tiers.columns import Preset

START = 1_800_000_000.0
PRESETS: dict[str, Preset] = {"adaptive": AdaptivePreset(), "openrouter": OpenRouterPreset()}
NAMES = ("g", "a", "b")


def served(preset: Preset) -> Engine:
    """An engine with two deployments, one of which fails, after one recompute."""
    engine = Engine(preset, instance="0a1b")
    engine.change_detector = ChangeDetector()
    engine.observe_peers(
        "g",
        [DeploymentKey("a"), DeploymentKey("b")],
        START,
        fingerprints={DeploymentKey("a"): "0f", DeploymentKey("b"): "1e"},
    )
    engine.observe_scores("g", BenchmarkScores({DeploymentKey("a"): SignalValue(0.9, 60)}, 0.8, 0.7, 50))
    for number in range(120):
        for name, outcome in (("a", Outcome.VALID), ("b", Outcome.INVALID_JSON)):
            sample = Sample(
                "g", DeploymentKey(name), START + number, tools_offered=True, outcome=outcome, caller=str(number)
            )
            engine.record(sample)
    engine.recompute(START + 300)
    return engine


def judge_inputs() -> Any:
    """What verification reads: the format's number, the header, and the columns in their order with their checksum."""

    def of(preset: Preset) -> Any:
        engine = served(preset)
        assert engine.change_detector is not None
        inputs = engine.change_detector.changes[0].inputs()
        data = encode(inputs)
        body = zlib.decompress(data[1:])
        header = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")])
        columns = [[name, list(column.shape[:-1])] for name, column in inputs.reading.columns.items()]
        return {"format": data[0], "layout": header["layout"], "header": shape(header, NAMES), "columns": columns}

    return {name: of(preset) for name, preset in PRESETS.items()}


def column_numbers() -> Any:
    """Numbers that stand for tiers and for causes in the columns."""
    judge = AdaptivePreset().judge()
    judge.resize(2)

    def number(tier: Tier) -> int:
        judge.load(1, {"tier": tier.value})
        return int(judge.read(np.array([1])).columns["memory.tier"][0])

    causes = {"errors": ERRORS, "slow": SLOW, "propensity": PROPENSITY, "benchmark": BENCHMARK, "verifier": VERIFIER}
    return {"memory.tier": {tier.value: number(tier) for tier in Tier}, "memory.cause": causes}


def rules() -> Any:
    """Presets as records have them, and the digests that other records name them by."""
    plain = {name: preset_as_plain(preset) for name, preset in PRESETS.items()}
    return {name: {"digest": digest(found), "rule": shape(found)} for name, found in plain.items()}


def engine_state() -> Any:
    """What is remembered of a deployment beside the windows, and the form of a snapshot's id."""
    told = {name: served(preset) for name, preset in PRESETS.items()}
    states = {name: engine.dump() for name, engine in told.items()}
    return {"snapshot": told["adaptive"].measured.id} | {name: shape(one, NAMES) for name, one in states.items()}


def windows() -> Any:
    """Dumped windows of one deployment: in the minute's page, and in the rings after a recompute."""

    def dumped(engine: Engine) -> Any:
        data = engine.dump_windows("g")["a"]
        return {"format": data[0], "plain": inflated(data)}

    engine = Engine(AdaptivePreset())
    engine.observe_peers("g", [DeploymentKey("a")], START)
    sample = Sample(
        "g", DeploymentKey("a"), START, tools_offered=True, outcome=Outcome.UNKNOWN_NAME, caller="c", complexity=2
    )
    engine.record(sample)
    page = dumped(engine)
    engine.recompute(START + 60)
    return {"page": page, "rings": dumped(engine)}


def additions() -> Any:
    """What samples add: numbers of the counters, and of the cells ``kind * bins + bin``."""
    found = {name: increments_of(sample, 100) for name, sample in _samples()}
    broken = Sample("g", DeploymentKey("a"), START, flaws=(Flaw.EMPTY,), blame=Blame.PROVIDER, caller="5f1c")
    found["broken, by caller"] = increments_of(broken, 100, checked_callers=True)
    return {
        "samples": {name: [list(one.counts), list(one.cells)] for name, one in found.items()},
        "bins": {str(value): bin_of(value) for value in (1e-9, 0.01, 0.5, 1.0, 60.0, 1e4, 1e9)},
        "callers": {name: caller_number(name) for name in ("", "5f1c", "0a1b")},
    }


def _samples() -> Iterator[tuple[str, Sample]]:
    def answer(**more: Any) -> Sample:
        return Sample("g", DeploymentKey("a"), START, **more)

    yield "failed", answer(ok=False)
    yield "no tools", answer()
    yield "no call", answer(tools_offered=True)
    for outcome in Outcome:
        yield outcome.value, answer(tools_offered=True, outcome=outcome, complexity=1, caller="5f1c")
        yield f"{outcome.value}, pinned", answer(tools_offered=True, outcome=outcome, complexity=3, routed=False)
    yield "lost", answer(tools_offered=True, lost=True, caller="0a1b")
    yield "whole", answer(output_tokens=200, duration_s=2.0)
    yield "streamed", answer(output_tokens=200, duration_s=2.0, first_token_s=0.5, streamed=True)


SECTIONS = (judge_inputs, column_numbers, rules, engine_state, windows, additions)
