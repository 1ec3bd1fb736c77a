"""What an engine knows, carried to another one: windows as bytes, deltas, and the snapshot in force."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.windows.codec import VERSION, WindowDumpError, decode, encode
from exacto_plugin.core.windows.deltas import Delta, Deltas
from exacto_plugin.core.windows.increments import CounterKind, increments_of
from exacto_plugin.core.windows.windows import MINUTE_S, ROWS
from tests.support.samples import START, answer, samples, tiers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exacto_plugin.core.model import Verdict
    from exacto_plugin.core.tiers.openrouter import OpenRouterParameters

NAMES = ("a", "b", "c", "d", "e")
WINDOWS_S = (900, 7200, 21_600, 259_200)
WIDE = samples(within_s=280_000, until_s=-90.0)
"""From before anything is retained until a page ahead of the recompute."""


def engine_of(recorded: Iterable[Sample] = (), rule: AdaptivePreset | OpenRouterParameters | None = None) -> Engine:
    """An engine that knows the peers of group ``g`` and some samples."""
    engine = Engine(rule or AdaptivePreset())
    engine.observe_peers("g", tuple(map(DeploymentKey, NAMES)), START - 8000)
    for sample in recorded:
        engine.record(sample)
    return engine


def sums(engine: Engine, now: float) -> list[object]:
    """Every sum over every window and every cell of group ``g``, by deployment."""
    read: list[object] = []
    for block in engine._state.windows.blocks:
        block.flush(now)
    for name in NAMES:
        slot = engine._state.slot("g", DeploymentKey(name))
        block, row = engine._state.windows.blocks[slot // ROWS], slot % ROWS
        read += [block.sums(list(CounterKind), now, window_s)[:, row].tolist() for window_s in WINDOWS_S]
        read += [block.series(list(CounterKind), now, w, w * n)[..., row].tolist() for w, n in ((60, 120), (1800, 144))]
        for window_s in (3600, 86_400):
            read.append(block.histograms(0, 5, now, window_s)[:, row].tolist())  # type: ignore[arg-type]
    return read


def verdicts(engine: Engine) -> dict[DeploymentKey, Verdict]:
    """All that the snapshot says about each deployment."""
    return dict(engine.snapshot.groups["g"].verdicts)


@settings(max_examples=12, deadline=None)
@given(st.lists(WIDE, max_size=60), st.integers(0, 2), st.lists(WIDE, max_size=20), st.lists(samples(), max_size=20))
def test_windows_come_back_as_they_were(
    before: list[Sample], recomputes: int, after: list[Sample], overwritten: list[Sample]
) -> None:
    """Loaded windows replace what was there and have the same sums, and the same verdicts ever after, bit for bit."""
    one = engine_of(before)
    for step in range(recomputes):
        one.recompute(START + 300 * step)
    for sample in after:
        one.record(sample)
    two = engine_of(overwritten)
    for step in range(recomputes):
        two.recompute(START + 300 * step)
    two.load(json.loads(json.dumps(one.dump())))
    two.load_windows("g", one.dump_windows("g"))
    assert two.dump_windows("g") == one.dump_windows("g")
    now = START + 300 * recomputes
    assert sums(one, now) == sums(two, now)
    for step in range(2):
        assert one.recompute(now + 300 * step).groups.keys() == two.recompute(now + 300 * step).groups.keys()
        assert verdicts(one) == verdicts(two)
    assert two.dump_windows("g") == one.dump_windows("g")


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(WIDE, st.booleans()), max_size=60), st.booleans())
def test_loading_can_add_to_what_is_there(recorded: list[tuple[Sample, bool]], flushed: bool) -> None:
    """Windows from before a restart, added to what was recorded since, are those of an engine that never stopped."""
    whole = engine_of(sample for sample, _ in recorded)
    old = engine_of(sample for sample, early in recorded if early)
    new = engine_of(sample for sample, early in recorded if not early)
    if flushed:
        old.recompute(START)
        new.recompute(START)
    new.load_windows("g", old.dump_windows("g"), add=True)
    assert sums(new, START) == sums(whole, START)


@settings(max_examples=12, deadline=None)
@given(st.lists(WIDE, max_size=80), st.lists(st.integers(0, 80), max_size=3))
def test_deltas_taken_in_elsewhere_give_the_same_windows(recorded: list[Sample], taken_after: list[int]) -> None:
    """Whenever deltas are taken, adding them to an empty engine gives the windows that they are of."""
    one, two = engine_of(), engine_of()
    one.deltas = Deltas()
    taken: list[Delta] = []
    for number, sample in enumerate(recorded):
        one.record(sample)
        if number in taken_after:
            taken += one.deltas.take()
    taken += one.deltas.take()
    assert one.deltas.take() == []
    assert one.deltas.dropped == 0
    assert sum(delta.samples for delta in taken) == len(recorded)
    two.add_deltas(reversed(taken))
    assert sums(one, START) == sums(two, START)


def test_deltas_of_a_newer_version_are_understood_as_far_as_possible() -> None:
    """A counter and a cell that this version does not have change nothing; the others count."""
    engine = engine_of()
    engine.add_deltas(
        [Delta("g", DeploymentKey("a"), int(START // MINUTE_S), {CounterKind.ANSWERED: 3, 4711: 8}, {7: 2, 10**6: 1})]
    )
    same = engine_of()
    same.add("g", DeploymentKey("a"), {CounterKind.ANSWERED: 3}, {7: 2}, START)
    assert sums(engine, START) == sums(same, START)


def test_what_nobody_asks_for_is_dropped_and_counted() -> None:
    """Beyond the capacity the oldest deltas go, and their samples are counted."""
    deltas = Deltas(capacity=2)
    for minute in range(4):
        for _ in range(minute + 1):
            deltas.add("g", DeploymentKey("a"), START + 60 * minute, increments_of(answer(), 100))
    assert [delta.minute - int(START // 60) for delta in deltas.take()] == [2, 3]
    assert deltas.dropped == 1 + 2


def test_old_windows_do_not_displace_new_ones() -> None:
    """What is older than anything retained is left out, and what is there stays."""
    old = engine_of([answer(at=START - 30 * 86_400)])
    old.recompute(START - 30 * 86_400)
    new = engine_of([answer(at=START - 10)])
    new.recompute(START)
    expected = sums(new, START)
    new.load_windows("g", old.dump_windows("g"), add=True)
    assert sums(new, START) == expected


def test_counts_beyond_a_byte_come_back() -> None:
    """Counters that had to widen are exact after the way through bytes."""
    one, two = engine_of(), engine_of()
    one.add(
        "g",
        DeploymentKey("a"),
        {CounterKind.ANSWERED: 5_000_000_000, CounterKind.CALLED: 300},
        {130: 70_000},
        START - 4000,
    )
    one.recompute(START)
    two.load_windows("g", one.dump_windows("g"))
    assert sums(one, START) == sums(two, START)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff" + zlib.compress(b"{}"),
        bytes([VERSION]),
        bytes([VERSION]) + zlib.compress(b"[]"),
        bytes([VERSION]) + zlib.compress(b"{"),
        bytes([VERSION]) + zlib.compress(b'{"seen":true,"counters":[[60,[1],[2]]],"cells":[],"pages":[]}'),
        bytes([VERSION]) + zlib.compress(b'{"seen":true,"counters":[[60,[1],[0],[-1]]],"cells":[],"pages":[]}'),
        bytes([VERSION]) + zlib.compress(b'{"seen":true,"counters":[],"cells":[],"pages":[[1,[[0,-1]],[]]]}'),
        bytes([VERSION]) + zlib.compress(b'{"seen":true,"counters":[],"cells":[],"pages":[[1,[],[[0,%d]]]]}' % 2**62),
        bytes([VERSION]) + zlib.compress(b'{"seen":true,"counters":[[60,[1],[0],[%d]]],"cells":[],"pages":[]}' % 2**62),
        bytes([VERSION]) + zlib.compress(b'{"seen":true,"counters":[[60,[1],[0],[1e400]]],"cells":[],"pages":[]}'),
    ],
)
def test_damaged_bytes_change_nothing(damaged: bytes) -> None:
    """One deployment's bytes that cannot be read: an error, and the windows stay as they are, everybody's."""
    engine = engine_of([answer()])
    expected = sums(engine, START)
    with pytest.raises(WindowDumpError):
        engine.load_windows("g", {"b": encode(decode(engine.dump_windows("g")["a"])), "a": damaged})
    assert sums(engine, START) == expected


def test_rings_and_counters_of_other_versions_are_left_out() -> None:
    """A width that we do not keep, a counter and a cell that we do not know: the rest is taken over."""
    engine = engine_of([answer(at=START - 100)])
    engine.recompute(START)
    expected = sums(engine, START)
    packed = json.loads(zlib.decompress(engine.dump_windows("g")["a"][1:]))
    packed["counters"].append([17, [1, 1], [0, 1], [5, 5]])
    packed["counters"][0][1].append(0)
    packed["counters"][0][2].append(999)
    packed["counters"][0][3].append(1)
    packed["pages"].append([int(START // 60), [[500, 1]], [[100_000, 1]]])
    packed["later"] = "?"
    two = engine_of()
    two.load_windows("g", {"a": bytes([VERSION]) + zlib.compress(json.dumps(packed).encode())})
    assert sums(two, START) == expected


def test_an_adopted_snapshot_is_in_force() -> None:
    """Snapshot, tiers, memory and budgets are the other process's; its transitions are not told a second time."""
    recorded = [
        answer(name, START - number, Outcome.INVALID_JSON if name == "e" and number % 2 else Outcome.VALID)
        for name in NAMES
        for number in range(300)
    ]
    leader, follower = engine_of(recorded), engine_of()
    leader.recompute(START)
    assert leader.transitions
    running = follower.recompute_slices(START)
    next(running)
    follower.adopt(leader.snapshot, leader.dump())
    assert list(running) == []
    assert follower.snapshot is leader.snapshot
    assert follower.transitions == ()
    assert follower.dump() == leader.dump()
    # It goes on from there: who leads next knows the tiers, and its ids come later.
    for name, packed in leader.dump_windows("g").items():
        follower.load_windows("g", {name: packed})
    follower.recompute(START + 300)
    assert tiers_of(follower)["e"] is Tier.DERANKED
    assert not follower.transitions
    leader.recompute(START + 300)
    assert verdicts(follower) == verdicts(leader)


def test_a_dump_of_one_group_is_its_part_of_the_whole() -> None:
    """What is remembered can be asked for group by group; a group that nobody knows has nothing."""
    engine = engine_of([answer()])
    engine.record(Sample("h", DeploymentKey("x"), START))
    assert engine.dump("h") == {"h": engine.dump()["h"]}
    assert engine.dump("unheard of") == {}
    assert set(engine.dump_windows("h")) == {"x"}
    assert engine.dump_windows("unheard of") == {}
