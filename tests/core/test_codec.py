"""Records as plain data: exact both ways, and understood across versions as far as possible."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.codec import UnknownFormatError, from_plain, snapshot_from_plain, snapshot_to_plain, to_plain
from exacto_plugin.core.decision import Ranked
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import (
    DeploymentKey,
    GroupSnapshot,
    LiteLLMId,
    Reason,
    ReasonCode,
    Reference,
    Sample,
    Signal,
    SignalValue,
    Snapshot,
    Tier,
    Verdict,
)
from exacto_plugin.core.pace import RecentPace
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from tests.support.samples import START, samples

numbers = st.floats(allow_nan=False)
reasons = st.builds(
    Reason, st.sampled_from(ReasonCode), st.none() | st.sampled_from(Signal), st.none() | numbers, st.none() | numbers
)
verdicts = st.builds(
    Verdict,
    deployment=st.text(max_size=5),
    tier=st.sampled_from(Tier),
    reasons=st.lists(reasons, max_size=3).map(tuple),
    signals=st.dictionaries(
        st.sampled_from(Signal), st.builds(SignalValue, st.none() | numbers, st.integers(0)), max_size=3
    ),
    since=numbers,
    throughput=st.none() | numbers,
    probe_budget=numbers,
    probe_faults=numbers,
)
references = st.builds(
    Reference, st.sampled_from(Signal), st.none() | numbers, st.none() | numbers, st.none() | numbers, st.integers(0)
)
four = st.tuples(numbers, numbers, numbers, numbers)
groups = st.builds(
    GroupSnapshot,
    model_group=st.text(max_size=5),
    verdicts=st.dictionaries(st.text(max_size=5), verdicts, max_size=3),
    references=st.dictionaries(st.sampled_from(Signal), references, max_size=3),
    at=numbers,
    merge_tiers=st.booleans(),
    paces=st.dictionaries(st.text(max_size=5), st.builds(RecentPace, st.none() | four, st.none() | four), max_size=2),
)


def through_json(of: Any) -> Any:
    """What another process reads; JSON proper, without numbers that only Python writes."""
    return json.loads(json.dumps(of, allow_nan=False))


@settings(max_examples=50, deadline=None)
@given(st.builds(Snapshot, st.text(), numbers, st.dictionaries(st.text(max_size=5), groups, max_size=3)))
def test_snapshots_come_back_equal(snapshot: Snapshot) -> None:
    """Every field of every record, floats to the last bit."""
    again = snapshot_from_plain(through_json(snapshot_to_plain(snapshot)))
    assert again == snapshot
    assert repr(again.groups) == repr(snapshot_from_plain(snapshot_to_plain(again)).groups)


@settings(max_examples=20, deadline=None)
@given(st.lists(samples(), max_size=60))
def test_an_engines_snapshot_comes_back_equal(recorded: list[Sample]) -> None:
    """Also where verdicts are only made when they are read."""
    engine = Engine(AdaptivePreset())
    engine.observe_peers("g", map(DeploymentKey, "abcde"), START)
    engine.watch("g", START)
    for sample in recorded:
        engine.record(sample)
    snapshot = engine.recompute(START)
    assert snapshot_from_plain(through_json(snapshot_to_plain(snapshot))) == snapshot


@given(samples())
def test_samples_come_back_equal(sample: Sample) -> None:
    """Outside of a snapshot too."""
    assert from_plain(Sample, through_json(to_plain(sample))) == sample


def test_what_is_never_stored_has_no_plain_form() -> None:
    """It has no wire names, so that nobody stores it under the names of its attributes."""
    with pytest.raises(TypeError, match="Ranked has no wire names"):
        to_plain(Ranked(LiteLLMId("a"), DeploymentKey("k"), 0, Tier.DERANKED))


def test_a_newer_versions_names_are_left_out() -> None:
    """Fields, signals, codes and tiers that are not known here, or of another type, cost only what needs them."""
    verdict = Verdict(DeploymentKey("a"), Tier.DERANKED, (Reason(ReasonCode.CAPACITY),), since=5.0)
    told = to_plain(verdict) | {"mood": "better", "latency_s": "soon", "probe_faults": "inf"}
    told["reasons"].append({"code": "moonphase", "value": 1.0})
    told["signals"] = {"throughput": {"value": 1.5, "samples": 3}, "charm": {"value": 1.0, "samples": 3}}
    read = from_plain(Verdict, told)
    assert read.latency_s is None
    assert read.probe_faults == math.inf
    assert len(read.reasons) == 1
    assert read.signals == {Signal.THROUGHPUT: SignalValue(1.5, 3)}
    group = {"model_group": "g", "verdicts": {"a": told, "b": {**told, "tier": "platinum"}, "c": {}, "d": None}}
    assert set(from_plain(GroupSnapshot, group).verdicts) == {"a"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"id": "x"},
        {"id": "x", "at": "soon", "groups": {}},
        {"id": 5, "at": 0.0, "groups": {}},
        {"id": "x", "at": 0.0, "groups": []},
        {"id": "x", "at": 0.0, "groups": {"g": 7}},
    ],
)
def test_what_is_no_snapshot_is_refused(given: dict[str, Any]) -> None:
    """Never half a snapshot."""
    with pytest.raises(UnknownFormatError):
        snapshot_from_plain(given)


def test_only_records_have_a_plain_form() -> None:
    """An object that nobody can read back is refused when it is written."""
    with pytest.raises(TypeError):
        to_plain(object())
