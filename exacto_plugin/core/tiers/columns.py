"""Tiers of many deployments as columns, and verdicts read from them.

A preset evaluates a ``Block`` of model groups with array arithmetic and returns ``TierAssignments``; a ``Verdict``
object is created only when it is read, because creating 20,000 of them costs more than the rest of a recompute. The
rules themselves are in ``openrouter`` and ``adaptive``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from exacto_plugin.core.lazy import LazyMapping
from exacto_plugin.core.model import (
    DeploymentKey,
    GroupSnapshot,
    SignalValue,
    Tier,
    Verdict,
)
from exacto_plugin.core.tiers.group_selection import of_groups
from exacto_plugin.core.tiers.signals import NO_REASON, finite_or_none
from exacto_plugin.core.windows.windows import ALL_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores, Reason
    from exacto_plugin.core.tiers.signals import SignalColumns
    from exacto_plugin.core.windows.speed import SpeedMedians
    from exacto_plugin.core.windows.windows import Rows, WindowBlock

TIERS = tuple(Tier)
VERIFIED_GOOD, INSUFFICIENT_DATA, DERANKED = (TIERS.index(tier) for tier in Tier)


@dataclass(frozen=True, slots=True)
class Block:
    """Model groups evaluated together; ``[group, deployment]``, padded to the widest."""

    groups: Sequence[str]
    positions: Sequence[Mapping[DeploymentKey, int]]
    """Positions by deployment, per group."""
    slots: NDArray[np.intp]
    """``slots.NO_SLOT`` in the padding."""
    member: NDArray[np.bool_]
    """False in the padding."""
    weight: NDArray[np.float64]
    """Relative traffic under the operator's strategy; 0 in the padding."""
    capacity: NDArray[np.float64]
    """Requests a minute that each can take; infinite when unknown."""
    price: NDArray[np.float64]
    """Mean price of a request, in any unit; NaN when unknown."""


def write_columns(
    table: Mapping[str, NDArray[Any]], columns: Mapping[str, NDArray[Any]], slots: NDArray[np.intp]
) -> None:
    """Write the columns of some slots by name; KeyError if one is missing."""
    for name, column in table.items():
        column[..., slots] = columns[name].reshape(column[..., slots].shape)


def no_commit() -> NDArray[np.intp]:
    """Do nothing: there is no state to store."""
    return np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True)
class TierAssignments:
    """Tiers that a preset assigns to a block, with signals and probe plan."""

    tier: NDArray[np.int8]
    """Index into ``TIERS`` per deployment."""
    signals: Sequence[SignalColumns]
    probe_plan: ProbePlan | None = None
    """Probes for deployments that need measuring; None: no probes."""
    common: GroupEvents | None = None
    """Rises of the failure rate at all deployments, by group."""
    commit: Callable[[], NDArray[np.intp]] = no_commit
    """Stores the rule's new state when the snapshot comes into force.
    Returns the slots whose state changed, which are measured and judged again at the next recompute."""
    holds_until: NDArray[np.float64] | None = None
    """UTC seconds per group until which equal inputs give equal results; None: not at all."""
    by_interval: NDArray[np.bool_] | None = None
    """Groups whose results depend on ``TierRule.interval_s``; None: all."""


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """Traffic for deployments that are not verified good, ``[group, deployment]``."""

    merges_tiers: NDArray[np.bool_]
    """Per group: verified good and insufficient data share the traffic."""
    keep_probability: NDArray[np.float64]
    """Probability that a merged pool includes the deployment."""
    share: NDArray[np.float64]
    """Share of tool requests that probe the deployment."""
    budget: NDArray[np.float64]
    """Largest number of probes until the next recompute."""
    faults: NDArray[np.float64]
    """Number of bad calls that ends the probes until the next recompute."""


class Reading(NamedTuple):
    """Inputs of ``judge``; equal inputs give bit-identical results."""

    columns: Mapping[str, NDArray[Any]]
    """By name; slots are the last axes. Copies of the measurements."""
    times: tuple[float, ...]
    """Numbers common to all slots, such as the time of the measurement."""


class GroupEvents(Protocol):
    """Rises of the failure rate at all deployments of a group, by group."""

    def reason(self, group: int) -> Reason | None:
        """Return the latest one of a group; None without one."""

    def phase(self) -> NDArray[np.int8]:
        """Return 0 for groups without one, 1 while it lasts, 2 after its end."""


class TierRule(Protocol):
    """Rule of a preset, with measurements by slot from ``measure`` to ``judge``."""

    min_output_tokens: int
    """Answers with fewer tokens have no speed."""
    reads_checked_callers: bool
    """True if the rule reads answers by caller."""

    def resize(self, slots: int) -> None:
        """Resize the arrays to slots below ``slots``."""

    @property
    def interval_s(self) -> float:
        """Seconds between recomputes, as far as results depend on them."""

    def measure(self, number: int, window_block: WindowBlock, now: float, rows: Rows = ALL_ROWS) -> None:
        """Read the inputs of ``judge`` for some rows of window block ``number``."""

    def measure_block(self, number: int, window_block: WindowBlock, now: float) -> NDArray[np.bool_]:
        """Read those inputs that change without a change of the row, for all rows.

        Called after ``measure``. Returns a mask of the rows of the block whose inputs changed.
        """

    def due_slots(self, widths: Sequence[tuple[int, int]], before: float, now: float) -> NDArray[np.intp]:
        """Return the slots to measure again although their windows are as before.

        Args:
            widths: of the windows' rings, see ``WindowBlock.counter_widths``.
            before: time of the last measurement.
            now: UTC seconds.
        """

    def judge(self, block: Block, scores: Mapping[str, BenchmarkScores]) -> TierAssignments:
        """Assign tiers to a block; ``scores`` are by model group."""

    def note_limits(self, limits: Mapping[int, float]) -> list[int]:
        """Set the requests a minute that providers report, by slot; 0: unknown.

        Returns the slots whose limit changed.
        """

    def read(self, slots: NDArray[np.intp]) -> Reading:
        """Return the inputs of ``judge`` for some slots."""

    def restore(self, reading: Reading, slots: NDArray[np.intp]) -> None:
        """Replace the measurements by those that ``read`` returned."""

    def forget(self, slots: Collection[int]) -> None:
        """Erase all data of some slots."""

    def restart(self, slot: int, now: float) -> None:
        """Restart the evidence of a slot with a replaced deployment."""

    def inherit(self, other: TierRule, tier: NDArray[np.int8]) -> None:
        """Take over the previous rule's state; ``tier`` is by slot."""

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """Return the state of a slot beside the windows, as plain data."""

    def load(self, slot: int, plain: Mapping[str, object]) -> None:
        """Load the state that ``dump`` returned."""


class Preset(Protocol):
    """Configuration of a rule, as in the settings."""

    def judge(self) -> TierRule:
        """Return a new instance of the rule."""

    @property
    def learns_capacity(self) -> bool:
        """True if refusals for rate limits tell what a deployment carries."""


@dataclass(frozen=True, slots=True)
class BlockVerdicts:
    """Verdicts of a block; the block's part of the snapshot reads from them."""

    block: Block
    assignments: TierAssignments
    since: NDArray[np.float64]
    speed: SpeedMedians
    latency: SpeedMedians
    at: float

    def only(self, numbers: Sequence[int]) -> BlockVerdicts:
        """Return a copy with some of the model groups, in this order."""
        return of_groups(self, numbers)

    def group(self, number: int, known: GroupSnapshot | None = None) -> GroupSnapshot:
        """Return one model group's part of the snapshot.

        ``known`` is the same part of another block, whose computed verdicts are taken over.
        """
        with_reason = {
            columns.signal: columns
            for columns in self.assignments.signals
            if columns.has_reference and columns.code[number, 0] != NO_REASON
        }
        positions = self.block.positions[number]
        verdicts, references = (None, None) if known is None else (known.verdicts, known.references)
        return GroupSnapshot(
            self.block.groups[number],
            LazyMapping(positions, lambda name: self.verdict(name, (number, positions[name])), verdicts),
            LazyMapping(with_reason, lambda signal: with_reason[signal].reference(number), references),
            self.at,
            self.assignments.probe_plan is not None and bool(self.assignments.probe_plan.merges_tiers[number]),
            common_cause=self._common_cause(number),
        )

    def _common_cause(self, number: int) -> Reason | None:
        common = self.assignments.common
        return None if common is None else common.reason(number)

    def verdict(self, deployment: DeploymentKey, at: tuple[int, int]) -> Verdict:
        """Return the verdict on the deployment at (group, position) of the block."""
        reasons = ((columns, columns.reason(*at)) for columns in self.assignments.signals)
        with_reason = [(columns, reason) for columns, reason in reasons if reason is not None]
        common = self._common_cause(at[0])
        return Verdict(
            deployment,
            TIERS[self.assignments.tier[at]],
            tuple(reason for _, reason in with_reason) + ((common,) if common is not None else ()),
            {
                columns.signal: SignalValue(finite_or_none(columns.value[at]), int(columns.samples[at]))
                for columns, _ in with_reason
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


class TierState:
    """Tier, start of the tier and fingerprint of every slot."""

    __slots__ = ("fingerprints", "since", "tier")

    def __init__(self) -> None:
        self.tier: NDArray[np.int8] = np.zeros(0, np.int8)
        self.since: NDArray[np.float64] = np.zeros(0)
        self.fingerprints: dict[int, str] = {}
        """Fingerprint of a slot's deployment, where one was given."""

    def resize(self, slots: int) -> None:
        """Resize to slots below ``slots``.

        A new slot has insufficient data; ``start`` sets the time.
        """
        more = max(0, slots - len(self.tier))
        self.tier = np.append(self.tier, np.full(more, INSUFFICIENT_DATA, np.int8))
        self.since = np.append(self.since, np.full(more, np.nan))

    def start(self, slots: NDArray[np.intp], now: float) -> None:
        """Set the start time of new deployments to ``now``.

        Known deployments are not changed.
        """
        self.since[slots] = np.where(np.isnan(self.since[slots]), now, self.since[slots])

    def note_fingerprint(self, slot: int, fingerprint: str) -> bool:
        """Store a slot's fingerprint; True if it differs from the previous one."""
        before = self.fingerprints.get(slot, fingerprint)
        self.fingerprints[slot] = fingerprint
        return before != fingerprint

    def forget(self, slots: Collection[int]) -> None:
        """Reset slots to their initial state."""
        self.tier[list(slots)] = INSUFFICIENT_DATA
        self.since[list(slots)] = np.nan
        for slot in slots:
            self.fingerprints.pop(slot, None)

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """Return the state of a slot for ``load``, as plain data."""
        return {
            "tier": TIERS[self.tier[slot]].value,
            "since": finite_or_none(self.since[slot]),
            "fingerprint": self.fingerprints.get(slot),
        }

    def load(self, slot: int, tier: object, since: object, fingerprint: object) -> None:
        """Load the state of a slot; unknown values are ignored."""
        if isinstance(fingerprint, str):
            self.fingerprints[slot] = fingerprint
        values = [each.value for each in TIERS]
        if tier in values:
            self.tier[slot] = values.index(str(tier))
        if isinstance(since, int | float):
            self.since[slot] = since

    def compare(self, block: Block, tier: NDArray[np.int8], now: float) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Return the previous tiers of a block and the start of the given ones."""
        previous = np.where(block.member, self.tier[block.slots], tier)
        since = self.since[block.slots]
        return previous, np.where((previous == tier) & ~np.isnan(since), since, now)

    def commit(self, block: Block, tier: NDArray[np.int8], since: NDArray[np.float64]) -> None:
        """Store the tiers of a block."""
        members = block.slots[block.member]
        self.tier[members] = tier[block.member]
        self.since[members] = since[block.member]
