"""State of every deployment: windows, previous tiers and the rule's state.

This is the state that survives a restart and that replicas share. Evaluates nothing and holds no lock: the engine that
holds it does both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.engine.marks import SlotMarks
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.tiers.columns import TierState
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.core.windows.slots import NO_SLOT, SlotAllocator
from exacto_plugin.core.windows.speed import empty_medians, grow, recent_medians
from exacto_plugin.core.windows.windows import ALL_ROWS, MINUTE_S, ROWS, Retention, Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import Sample
    from exacto_plugin.core.tiers.columns import TierRule
    from exacto_plugin.core.windows.codec import WindowDump
    from exacto_plugin.core.windows.deltas import Delta
    from exacto_plugin.core.windows.increments import Increments
    from exacto_plugin.core.windows.minute_buffer import Additions
    from exacto_plugin.core.windows.windows import Rows, WindowBlock

    Remembered = dict[str, dict[str, dict[str, float | int | str | None]]]
    """By model group and deployment."""

CAPACITY = 50_000
"""Largest number of configured deployments."""

MOST_NAME = 256
"""Longest invented name of a model group or deployment, in characters, that gets a
slot; the longest model name in LiteLLM's price table has 111."""

_MOST_SELECTED = 0.75
"""Share of the rows of a window block up to which the changed ones alone are read."""

_RULE_PREFIX = "rule."
"""Prefix of the rule's fields in the saved state of a deployment."""


class EngineState:
    """State of the deployments of every model group.

    Args:
        rule: the rule in force, which has state of its own.
        timer: clock in seconds for expiring unused deployments.
        retention: retention and resolution of samples.
        capacity: largest number of configured deployments.
        is_configured: tells configured model groups from those that requests invent.
    """

    def __init__(
        self,
        rule: TierRule,
        timer: Callable[[], float],
        retention: Retention,
        capacity: int,
        is_configured: Callable[[str], bool],
    ) -> None:
        self.rule = rule
        self._is_configured = is_configured
        self.windows = Windows(retention, rule.min_output_tokens)
        self.windows.checked_callers = rule.reads_checked_callers
        self.slots = SlotAllocator(capacity, retention.span_s, timer)
        self.members_of: Callable[[str], Collection[DeploymentKey] | None] = lambda model_group: None
        """Returns the observed deployments of a model group; None for one that was not observed."""
        self.tier_state = TierState()
        self.speed = empty_medians()
        """Recent speeds by slot, as of the last ``measure``."""
        self.latency = empty_medians()
        """Recent latencies by slot, as of the last ``measure``."""
        self.marks = SlotMarks()
        """Slots whose inputs of a verdict changed."""
        self._measured_at = -math.inf
        self._late_paces: NDArray[np.bool_] = np.zeros(0, np.bool_)
        """Slots whose speed and latency are older than the rest of their measurements."""

    def slot(self, model_group: str, deployment: DeploymentKey, *, may_open: bool = True) -> int:
        """Return the slot of a deployment, a new one if it has none; renews its lease.

        Args:
            model_group: its model group.
            deployment: its name.
            may_open: False to give a new slot to configured deployments only.

        Returns:
            The slot; ``NO_SLOT`` for a name that a request invented and that gets none.
        """
        key = (model_group, deployment)
        invented = (key not in self.slots or self.slots.is_invented(key)) and not self._is_known(*key)
        if invented and not self.counts(model_group, deployment, may_open=may_open):
            return NO_SLOT
        slot = self.slots.acquire(key, invented=invented)
        if slot >= len(self.windows.blocks) * ROWS:
            self._resize(slot + 1)
        return slot

    def counts(self, model_group: str, deployment: DeploymentKey, *, may_open: bool) -> bool:
        """Return True if a deployment has a slot or may get one; see ``slot``."""
        key = (model_group, deployment)
        return key in self.slots or self._is_known(*key) or (may_open and max(map(len, key)) <= MOST_NAME)

    def _is_known(self, model_group: str, deployment: DeploymentKey) -> bool:
        """Return whether an operator configured this deployment, as far as is known.

        Requests can add deployments to a configured group as well, with an address of their own.
        """
        members = self.members_of(model_group)
        return self._is_configured(model_group) and (members is None or deployment in members)

    def with_slots(self, model_group: str, served: Sequence[DeploymentKey]) -> Sequence[DeploymentKey]:
        """Return the deployments of a model group that are observed.

        Of an invented group these are those that have a slot or find room for one: no other name loses its slot.
        """
        if self._is_configured(model_group):
            return served
        kept = [name for name in served if (model_group, name) in self.slots]
        room = self.slots.invented_left if kept else 0
        return [*kept, *[name for name in served if name not in kept][:room]]

    def lost_groups(self) -> Iterable[str]:
        """Return the invented model groups that lost their slots since the last time."""
        return [group for group in self.slots.take_lost_groups() if not self._is_configured(group)]

    def _resize(self, slots: int) -> None:
        self.windows.resize(slots)
        room = len(self.windows.blocks) * ROWS
        self.tier_state.resize(room)
        self.rule.resize(room)
        self.speed = grow(self.speed, room)
        self.latency = grow(self.latency, room)
        self.marks.resize(room)
        self._late_paces = np.append(self._late_paces, np.ones(room - len(self._late_paces), np.bool_))

    def measure_again(self, slots: NDArray[np.intp] | Sequence[int] | None = None) -> None:
        """Measure and judge some slots at the next recompute; None: all."""
        changed = np.arange(len(self._late_paces)) if slots is None else np.asarray(slots, np.intp)
        self.marks.mark(changed)
        for number in np.unique(changed // ROWS).tolist():
            self.windows.blocks[number].changed[changed[changed // ROWS == number] % ROWS] = True

    def change_rule(self, rule: TierRule) -> None:
        """Put a new rule in force, which takes over the state of the previous one."""
        before, self.rule = self.rule, rule
        rule.inherit(before, self.tier_state.tier)
        rule.resize(len(self.windows.blocks) * ROWS)
        self.windows.min_output_tokens = rule.min_output_tokens
        self.windows.checked_callers = rule.reads_checked_callers
        self.measure_again()

    def record(self, sample: Sample) -> Increments | None:
        """Count one finished answer or failed attempt; return its increments.

        None for a sample that is not counted: of an invented name, unless it has had a success.
        """
        slot = self.slot(sample.model_group, sample.deployment, may_open=sample.ok)
        return None if slot == NO_SLOT else self.windows.record(slot, sample)

    def add(
        self, model_group: str, deployment: DeploymentKey, counts: Additions, cells: Mapping[int, int], at: float
    ) -> None:
        """Count many samples of one time at once; see ``Windows.add``."""
        may_open = counts.get(CounterKind.ANSWERED, 0) > 0
        if (slot := self.slot(model_group, deployment, may_open=may_open)) != NO_SLOT:
            self.windows.add(slot, counts, cells, at)

    def measure(self, now: float) -> Iterator[None]:
        """Read what changed in the windows into the rule, speed and latency, in slices.

        Marks the slots whose measurements can have changed. Changes are kept until they are read, so that a recompute
        that ends early loses none.
        """
        before, self._measured_at = self._measured_at, now
        if now < before:
            self.measure_again()
        elif self.windows.blocks:
            widths = self.windows.blocks[0].counter_widths
            self.measure_again(self.rule.due_slots(widths, before, now))
        for number, block in enumerate(tuple(self.windows.blocks)):
            yield from _flushed(block, now)
            if block.changed.any():
                self._measure_evidence(number, block, now, _rows(block.changed))
                yield
            found = np.flatnonzero(self.rule.measure_block(number, block, now))
            self.marks.mark(number * ROWS + found)
            if len(found):
                yield
            if self._measure_paces(number, block, now):
                yield

    def _measure_evidence(self, number: int, block: WindowBlock, now: float, rows: Rows) -> None:
        """Read the rule's inputs of some rows of a window block."""
        self.rule.measure(number, block, now, rows)
        slots = number * ROWS + np.arange(ROWS)[rows][block.changed[rows]]
        self._late_paces[slots] = True
        block.changed[rows] = False
        self.marks.mark(slots)

    def _measure_paces(self, number: int, block: WindowBlock, now: float) -> bool:
        """Read the speeds and latencies of a window block; False if nothing changed."""
        here = slice(number * ROWS, (number + 1) * ROWS)
        late = np.flatnonzero(self._late_paces[here])
        if not len(late):
            return False
        rows = _rows(self._late_paces[here])
        slots = number * ROWS + np.arange(ROWS)[rows]
        for columns, found in zip((self.speed, self.latency), recent_medians(block, now, rows), strict=True):
            columns.samples[:, slots], columns.medians[:, slots] = found.samples, found.medians
        self._late_paces[here] = False
        self.marks.mark(number * ROWS + late)
        return True

    def restart(self, model_group: str, deployment: DeploymentKey, now: float) -> None:
        """Restart the evidence of a deployment that was replaced as of ``now``.

        It has insufficient data from the next recompute on.
        """
        if (slot := self.slot(model_group, deployment)) != NO_SLOT:
            self.rule.restart(slot, now)
            self.measure_again([slot])

    def note_limits(
        self, model_group: str, served: Iterable[DeploymentKey], limits: Mapping[DeploymentKey, float]
    ) -> None:
        """Set the requests a minute that providers report; missing: unknown."""
        slots = {self.slot(model_group, name): limits.get(name, 0.0) for name in served}
        slots.pop(NO_SLOT, None)
        self.marks.mark(self.rule.note_limits(slots))

    def note_fingerprint(self, model_group: str, deployment: DeploymentKey, fingerprint: str, now: float) -> None:
        """Store a configuration's fingerprint; restart the evidence if it changed."""
        slot = self.slot(model_group, deployment)
        if slot != NO_SLOT and self.tier_state.note_fingerprint(slot, fingerprint):
            self.restart(model_group, deployment, now)

    def dump(self, model_group: str | None = None) -> Remembered:
        """Return the state beside the windows, by model group and deployment.

        Plain data; None: of all groups.
        """
        groups = self.slots.groups if model_group is None else (model_group,)
        return {
            group: {name: self._dump(self.slot(group, name)) for name in names}
            for group in groups
            if (names := self.slots.of(group))
        }

    def _dump(self, slot: int) -> dict[str, float | int | str | None]:
        own = {f"{_RULE_PREFIX}{name}": value for name, value in self.rule.dump(slot).items()}
        return self.tier_state.dump(slot) | own

    def load(self, remembered: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """Load the state that ``dump`` returned; unknown fields are ignored."""
        loaded: list[int] = []
        for group, deployments in remembered.items():
            for deployment, plain in deployments.items():
                if (slot := self.slot(group, DeploymentKey(deployment))) == NO_SLOT:
                    continue
                self.tier_state.load(slot, plain.get("tier"), plain.get("since"), plain.get("fingerprint"))
                own = {
                    name.removeprefix(_RULE_PREFIX): value
                    for name, value in plain.items()
                    if name.startswith(_RULE_PREFIX)
                }
                self.rule.load(slot, own)
                loaded.append(slot)
        self.measure_again(loaded)

    def copy_windows(self, model_group: str) -> dict[str, WindowDump]:
        """Copy the windows of each deployment of a model group."""
        names = self.slots.of(model_group)
        return dict(zip(names, self.windows.read([self.slot(model_group, name) for name in names]), strict=True))

    def restore_windows(self, model_group: str, held: Mapping[str, WindowDump], *, add: bool = False) -> None:
        """Restore windows that ``copy_windows`` returned, or add them.

        With ``add`` the counts are added to the existing ones, else they replace them. Exact where the retention is
        the same.
        """
        slots = {self.slot(model_group, DeploymentKey(name)): one for name, one in held.items()}
        slots.pop(NO_SLOT, None)
        if not add:
            self.windows.forget(slots)
        self.windows.add_dumps(slots)

    def add_deltas(self, deltas: Iterable[Delta]) -> None:
        """Count the deltas of other processes; unknown counters are ignored."""
        for delta in deltas:
            self.add(delta.model_group, delta.deployment, *delta.known(), delta.minute * MINUTE_S)

    def age(self, now: float) -> Iterator[None]:
        """Expire samples and unused deployments without a recompute, in slices."""
        for block in tuple(self.windows.blocks):
            yield from _flushed(block, now)
        yield from self.erase_expired()

    def erase_expired(self) -> Iterator[None]:
        """Erase deployments without use for the retention time."""
        gone = self.slots.expire()
        for number in sorted({slot // ROWS for slot in gone}):
            slots = [slot for slot in gone if slot // ROWS == number]
            self.windows.forget(slots)
            self.tier_state.forget(slots)
            self.rule.forget(slots)
            self.slots.release(slots)
            yield


def _flushed(block: WindowBlock, now: float) -> Iterator[None]:
    """Flush a window block, and merge its histograms, in slices."""
    block.flush(now)
    yield
    while block.merge():
        yield


def _rows(changed: NDArray[np.bool_]) -> Rows:
    """Return the rows to read.

    All of them if most changed, because selecting them takes longer.
    """
    return ALL_ROWS if changed.sum() > _MOST_SELECTED * ROWS else np.flatnonzero(changed)
