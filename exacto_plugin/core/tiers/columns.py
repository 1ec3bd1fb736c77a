"""Tiers as columns: what a preset concludes about many deployments at once, and how one verdict is read from it.

A preset judges a ``Block`` of model groups with array arithmetic and returns a ``TierAssignments``; a ``Verdict``
object is made only when somebody reads it, because making 20,000 of them costs more than everything else in a
recompute. The rules themselves are in ``published``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

from exacto_plugin.core.model import GroupSnapshot, Reason, ReasonCode, Reference, Signal, SignalValue, Tier, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.windows.speed import SpeedMedians
    from exacto_plugin.core.windows.windows import WindowBlock

K = TypeVar("K")
V = TypeVar("V")

TIERS = tuple(Tier)
CODES = tuple(ReasonCode)
NO_REASON = -1
"""In place of a reason code: the signal says nothing about this deployment."""

VERIFIED_GOOD, INSUFFICIENT_DATA, DERANKED = (TIERS.index(tier) for tier in Tier)


@dataclass(frozen=True, slots=True)
class Block:
    """Model groups that are judged together; arrays have the shape ``[group, deployment]``, padded to the widest."""

    groups: Sequence[str]
    positions: Sequence[Mapping[str, int]]
    """Per group: the deployments and their places."""
    slots: NDArray[np.intp]
    """``slots.NOBODY`` in the padding."""
    member: NDArray[np.bool_]
    """False in the padding."""
    weight: NDArray[np.float64]
    """Relative traffic that the operator's strategy would give each deployment; 0 in the padding."""
    capacity: NDArray[np.float64]
    """Requests a minute that each can take; infinite when unknown."""


def _value_at(column: NDArray[Any], group: int, place: int) -> Any:
    """A number that is kept per group or per deployment."""
    return column[group] if column.ndim == 1 else column[group, place]


@dataclass(frozen=True, slots=True)
class SignalColumns:
    """One signal of a block: what was measured, what it was compared with and what came of it."""

    signal: Signal
    value: NDArray[np.float64]
    """Per deployment; NaN when nothing was measured."""
    samples: NDArray[np.int64]
    code: NDArray[np.int64]
    """Per deployment: index into ``CODES``, or ``NO_REASON``."""
    median: NDArray[np.float64]
    """Per group, as are ``mad`` and ``peers``; ``needed`` and ``window_s`` are per group or per deployment."""
    mad: NDArray[np.float64]
    threshold: NDArray[np.float64]
    """Per deployment; NaN when the signal cannot derank it."""
    peers: NDArray[np.int64]
    needed: NDArray[np.int64]
    window_s: NDArray[np.float64]
    min_peers: int

    def reason(self, group: int, place: int) -> Reason | None:
        """What this signal has to say about one deployment."""
        code = int(self.code[group, place])
        if code == NO_REASON:
            return None
        few_peers = CODES[code] is ReasonCode.TOO_FEW_PEERS
        return Reason(
            CODES[code],
            self.signal,
            finite_or_none(self.value[group, place]),
            finite_or_none(self.threshold[group, place]),
            int(self.samples[group, place]),
            self.min_peers if few_peers else int(_value_at(self.needed, group, place)),
            float(_value_at(self.window_s, group, place)),
            int(_value_at(self.peers, group, place)) if few_peers else 0,
        )

    def reference(self, group: int) -> Reference:
        """What the peers of one group say."""
        thresholds = self.threshold[group]
        return Reference(
            self.signal,
            finite_or_none(self.median[group]),
            finite_or_none(self.mad[group]),
            finite_or_none(thresholds[0]),
            int(self.peers[group]),
        )


def write_columns(
    table: Mapping[str, NDArray[Any]], columns: Mapping[str, NDArray[Any]], slots: NDArray[np.intp]
) -> None:
    """Write what was read of some slots into columns of the same names; KeyError when one is missing."""
    for name, column in table.items():
        column[..., slots] = columns[name].reshape(column[..., slots].shape)


def _no_commit() -> None:
    """Nothing to remember."""


@dataclass(frozen=True, slots=True)
class TierAssignments:
    """What a preset concludes about a block."""

    tier: NDArray[np.int8]
    """Index into ``TIERS`` per deployment."""
    signals: Sequence[SignalColumns]
    probe_plan: ProbePlan | None = None
    """How those that need measuring are reached; None: not at all."""
    commit: Callable[[], None] = _no_commit
    """Makes the judge remember what it concluded; called when the snapshot that holds it comes into force."""


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """How traffic reaches deployments that are not verified good; arrays ``[group, deployment]`` but for ``merged``."""

    merges_tiers: NDArray[np.bool_]
    """Per group: verified good and insufficient data share the traffic."""
    keep_probability: NDArray[np.float64]
    """Probability that a merged pool includes the deployment."""
    share: NDArray[np.float64]
    """Share of tool requests that probe it."""
    budget: NDArray[np.float64]
    """Probes until the next recompute, at most."""
    faults: NDArray[np.float64]
    """Bad calls that end its probes until the next recompute."""


class Reading(NamedTuple):
    """All that ``judge`` reads of some slots; from equal readings, judges of one rule conclude the same bit for bit."""

    columns: Mapping[str, NDArray[Any]]
    """By name; the last axes are those of the slots. Copies, so they stay as they are."""
    times: tuple[float, ...]
    """What is the same for all slots, such as when it was measured."""


class TierRule(Protocol):
    """A preset at work. It keeps what it measured per slot between ``measure`` and ``judge``."""

    min_output_tokens: int
    """Answers shorter than this have no speed."""

    def resize(self, slots: int) -> None:
        """Make room for slots below ``slots``."""

    def measure(self, number: int, slab: WindowBlock, now: float) -> None:
        """Read from the windows of slab ``number`` whatever ``judge`` will need."""

    def judge(self, block: Block, scores: Mapping[str, BenchmarkScores]) -> TierAssignments:
        """Conclude about a block from what was measured; ``scores`` are by model group."""

    def read(self, slots: NDArray[np.intp]) -> Reading:
        """What ``judge`` would read of these slots."""

    def restore(self, reading: Reading, slots: NDArray[np.intp]) -> None:
        """Put what ``read`` gave in place of what was measured."""

    def forget(self, slots: Collection[int]) -> None:
        """Drop all that is kept of some slots."""

    def restart(self, slot: int, now: float) -> None:
        """The deployment behind a slot is another one as of now; what was measured before does not count."""

    def inherit(self, other: TierRule, tier: NDArray[np.int8]) -> None:
        """Take over from a judge of whatever preset that was at work so far; ``tier`` is what it left, by slot."""

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """What is remembered of a slot beside the windows, as plain data."""

    def load(self, slot: int, plain: Mapping[str, object]) -> None:
        """Take over what ``dump`` gave."""


class Preset(Protocol):
    """The configuration of a rule, as it stands in the settings."""

    def judge(self) -> TierRule:
        """A new judge that follows this configuration."""


class LazyMapping(Mapping[K, V]):
    """A fixed set of keys whose values are made when they are first read. Immutable to its readers."""

    __slots__ = ("_keys", "_make", "_values")

    def __init__(self, keys: Collection[K], make: Callable[[K], V]) -> None:
        self._keys = keys
        self._make = make
        self._values: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        """The value of a key; KeyError when it is not one of them."""
        made = self._values.get(key)
        if made is None:
            if key not in self._keys:
                raise KeyError(key)
            # Two threads may both make it: they make equal ones.
            made = self._values[key] = self._make(key)
        return made

    def __iter__(self) -> Iterator[K]:
        """The keys in their given order."""
        return iter(self._keys)

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._keys)

    def __repr__(self) -> str:
        """All values, as a dictionary shows them."""
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class BlockVerdicts:
    """All that a recompute knows about a block; the parts of its snapshot are views of it."""

    block: Block
    assignments: TierAssignments
    since: NDArray[np.float64]
    speed: SpeedMedians
    latency: SpeedMedians
    at: float

    def group(self, number: int) -> GroupSnapshot:
        """One model group's part of the snapshot."""
        spoken = {
            columns.signal: columns for columns in self.assignments.signals if columns.code[number, 0] != NO_REASON
        }
        roster = self.block.positions[number]
        return GroupSnapshot(
            self.block.groups[number],
            LazyMapping(roster, lambda name: self.verdict(name, (number, roster[name]))),
            LazyMapping(spoken, lambda signal: spoken[signal].reference(number)),
            self.at,
            self.assignments.probe_plan is not None and bool(self.assignments.probe_plan.merges_tiers[number]),
        )

    def verdict(self, deployment: str, at: tuple[int, int]) -> Verdict:
        """The verdict on the deployment at a place (group, deployment) of the block."""
        reasons = ((columns, columns.reason(*at)) for columns in self.assignments.signals)
        spoken = [(columns, reason) for columns, reason in reasons if reason is not None]
        return Verdict(
            deployment,
            TIERS[self.assignments.tier[at]],
            tuple(reason for _, reason in spoken),
            {
                columns.signal: SignalValue(finite_or_none(columns.value[at]), int(columns.samples[at]))
                for columns, _ in spoken
            },
            float(self.since[at]),
            finite_or_none(self.speed.medians[at]),
            finite_or_none(self.latency.medians[at]),
            *self._plan(at),
        )

    def _plan(self, at: tuple[int, int]) -> tuple[float, ...]:
        plan = self.assignments.probe_plan
        if plan is None:
            return ()
        return tuple(float(column[at]) for column in (plan.keep_probability, plan.share, plan.budget, plan.faults))


def finite_or_none(number: np.float64 | float) -> float | None:
    """A float that can be written as JSON: None for NaN."""
    return None if math.isnan(number) else float(number)


class TierState:
    """The tier that every slot has and since when, and who has the slot; what the next recompute starts from."""

    __slots__ = ("fingerprints", "since", "tier")

    def __init__(self) -> None:
        self.tier: NDArray[np.int8] = np.zeros(0, np.int8)
        self.since: NDArray[np.float64] = np.zeros(0)
        self.fingerprints: dict[int, str] = {}
        """What the deployment of a slot really is, where that was told."""

    def resize(self, slots: int) -> None:
        """Make room for slots below ``slots``; each has insufficient data, since a time that ``begin`` tells."""
        more = max(0, slots - len(self.tier))
        self.tier = np.append(self.tier, np.full(more, INSUFFICIENT_DATA, np.int8))
        self.since = np.append(self.since, np.full(more, np.nan))

    def start(self, slots: NDArray[np.intp], now: float) -> None:
        """Deployments are served as of ``now``; nothing changes for those that were known."""
        self.since[slots] = np.where(np.isnan(self.since[slots]), now, self.since[slots])

    def note_fingerprint(self, slot: int, fingerprint: str) -> bool:
        """Whether the deployment of a slot is another one than it was so far; takes note of what it is now."""
        before = self.fingerprints.get(slot, fingerprint)
        self.fingerprints[slot] = fingerprint
        return before != fingerprint

    def forget(self, slots: Collection[int]) -> None:
        """Let slots start anew."""
        self.tier[list(slots)] = INSUFFICIENT_DATA
        self.since[list(slots)] = np.nan
        for slot in slots:
            self.fingerprints.pop(slot, None)

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """What ``load`` takes over, as plain data."""
        return {
            "tier": TIERS[self.tier[slot]].value,
            "since": finite_or_none(self.since[slot]),
            "fingerprint": self.fingerprints.get(slot),
        }

    def load(self, slot: int, tier: object, since: object, fingerprint: object) -> None:
        """Take over what was remembered of a slot; what is not understood is left out."""
        if isinstance(fingerprint, str):
            self.fingerprints[slot] = fingerprint
        values = [each.value for each in TIERS]
        if tier in values:
            self.tier[slot] = values.index(str(tier))
        if isinstance(since, int | float):
            self.since[slot] = since

    def compare(self, block: Block, tier: NDArray[np.int8], now: float) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """The previous tiers of a block, and since when the given ones hold."""
        previous = np.where(block.member, self.tier[block.slots], tier)
        since = self.since[block.slots]
        return previous, np.where((previous == tier) & ~np.isnan(since), since, now)

    def commit(self, block: Block, tier: NDArray[np.int8], since: NDArray[np.float64]) -> None:
        """Take over the tiers of a block."""
        members = block.slots[block.member]
        self.tier[members] = tier[block.member]
        self.since[members] = since[block.member]
