"""Holdings: all that is known of every deployment, its windows and what was concluded before; in, out and kept.

What is here is what a restart must not lose and what replicas share. Nothing is judged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.tiers.columns import TierState
from exacto_plugin.core.windows.codec import decode, encode
from exacto_plugin.core.windows.slots import SlotAllocator
from exacto_plugin.core.windows.speed import empty_medians, grow
from exacto_plugin.core.windows.windows import MINUTE_S, ROWS, Retention, Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from exacto_plugin.core.model import Sample
    from exacto_plugin.core.tiers.columns import TierRule
    from exacto_plugin.core.windows.codec import WindowDump
    from exacto_plugin.core.windows.deltas import Delta, Deltas
    from exacto_plugin.core.windows.minute_buffer import Additions

    Remembered = dict[str, dict[str, dict[str, float | int | str | None]]]
    """By model group and deployment."""

CAPACITY = 50_000
"""Deployments that are remembered at most. Wildcard groups make one per model that a client names."""

_RULE_PREFIX = "rule."
"""Before the names of what a rule remembers, among what is remembered of a deployment."""


class EngineState:
    """What is known of the deployments of every model group.

    Args:
        judge: the rule at work, which has a memory of its own.
        timer: seconds by which deployments that nobody hears of any more are forgotten.
        retention: how long samples are kept, and how finely.
        capacity: deployments that are remembered at most.
    """

    def __init__(self, judge: TierRule, timer: Callable[[], float], retention: Retention, capacity: int) -> None:
        self._rule = judge
        self._windows = Windows(retention, judge.min_output_tokens)
        self._slots = SlotAllocator(capacity, retention.span_s, timer)
        self._tier_state = TierState()
        self._speed = empty_medians()
        self._latency = empty_medians()
        self.deltas: Deltas | None = None
        """Where ``record`` notes what it counts, for whoever keeps or shares it; None: nowhere."""

    @property
    def dropped(self) -> int:
        """Samples that came too late to be counted."""
        return self._windows.dropped

    def groups(self) -> tuple[str, ...]:
        """Model groups that were observed or sampled within the retention time."""
        return self._slots.groups

    def record(self, sample: Sample) -> None:
        """Count one finished answer or failed attempt."""
        added = self._windows.record(self._slot(sample.model_group, sample.deployment), sample)
        if self.deltas is not None:
            self.deltas.add(sample.model_group, sample.deployment, sample.at, added)

    def add(self, model_group: str, deployment: str, counts: Additions, cells: Mapping[int, int], at: float) -> None:
        """Count many samples of one time at once, e.g. another replica's or a simulation's; see ``Windows.add``."""
        self._windows.add(self._slot(model_group, deployment), counts, cells, at)

    def restart(self, model_group: str, deployment: str, now: float) -> None:
        """A deployment is another one as of ``now``: it has insufficient data from the next recompute on."""
        self._rule.restart(self._slot(model_group, deployment), now)

    def dump(self, model_group: str | None = None) -> Remembered:
        """What is remembered beside the windows, as plain data by model group and deployment; None: of all groups."""
        groups = self._slots.groups if model_group is None else (model_group,)
        return {
            group: {name: self._dump(self._slot(group, name)) for name in names}
            for group in groups
            if (names := self._slots.of(group))
        }

    def _dump(self, slot: int) -> dict[str, float | int | str | None]:
        own = {f"{_RULE_PREFIX}{name}": value for name, value in self._rule.dump(slot).items()}
        return self._tier_state.dump(slot) | own

    def load(self, remembered: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """Take over what ``dump`` gave, e.g. after a restart; what is not known here is left out."""
        for group, deployments in remembered.items():
            for deployment, plain in deployments.items():
                slot = self._slot(group, deployment)
                self._tier_state.load(slot, plain.get("tier"), plain.get("since"), plain.get("fingerprint"))
                own = {
                    name.removeprefix(_RULE_PREFIX): value
                    for name, value in plain.items()
                    if name.startswith(_RULE_PREFIX)
                }
                self._rule.load(slot, own)

    def copy_windows(self, model_group: str) -> dict[str, WindowDump]:
        """What the windows hold of each deployment of a model group, copied."""
        names = self._slots.of(model_group)
        return dict(zip(names, self._windows.read([self._slot(model_group, name) for name in names]), strict=True))

    def restore_windows(self, model_group: str, held: Mapping[str, WindowDump], *, add: bool = False) -> None:
        """Replace the windows of some deployments by what ``take_windows`` gave, or add it to them.

        Exact where the retention is the same.
        """
        slots = {self._slot(model_group, name): one for name, one in held.items()}
        if not add:
            self._windows.forget(slots)
        self._windows.add_dumps(slots)

    def dump_windows(self, model_group: str) -> dict[str, bytes]:
        """``take_windows`` as bytes that any version reads."""
        return {name: encode(held) for name, held in self.copy_windows(model_group).items()}

    def load_windows(self, model_group: str, dumped: Mapping[str, bytes], *, add: bool = False) -> None:
        """``put_windows`` of what ``dump_windows`` gave.

        Raises:
            HeldError: some bytes cannot be read; then nothing is changed.
        """
        self.restore_windows(model_group, {name: decode(packed) for name, packed in dumped.items()}, add=add)

    def add_deltas(self, deltas: Iterable[Delta]) -> None:
        """Count what others recorded; counters and cells that this version does not know are left out."""
        for delta in deltas:
            slot = self._slot(delta.model_group, delta.deployment)
            self._windows.add(slot, *delta.known(), delta.minute * MINUTE_S)

    def _slot(self, model_group: str, deployment: str) -> int:
        slot = self._slots.acquire((model_group, deployment))
        if slot >= len(self._windows.blocks) * ROWS:
            self._resize(slot + 1)
        return slot

    def _resize(self, slots: int) -> None:
        self._windows.resize(slots)
        room = len(self._windows.blocks) * ROWS
        self._tier_state.resize(room)
        self._rule.resize(room)
        self._speed = grow(self._speed, room)
        self._latency = grow(self._latency, room)

    def age(self, now: float) -> Iterator[None]:
        """Let samples move on and age out without a recompute, in slices; for a process that others judge for."""
        for slab in tuple(self._windows.blocks):
            slab.flush(now)
            yield
        yield from self._erase_expired()

    def _erase_expired(self) -> Iterator[None]:
        """Erase deployments that nobody has heard of for the retention time."""
        gone = self._slots.expire()
        for number in sorted({slot // ROWS for slot in gone}):
            slots = [slot for slot in gone if slot // ROWS == number]
            self._windows.forget(slots)
            self._tier_state.forget(slots)
            self._rule.forget(slots)
            self._slots.release(slots)
            yield
