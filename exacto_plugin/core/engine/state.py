"""State of every deployment: windows, previous tiers and the rule's state.

This is the state that survives a restart and that replicas share. Evaluates nothing.
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
"""Largest number of deployments.
Wildcard groups have one per model that a client names."""

_RULE_PREFIX = "rule."
"""Prefix of the rule's fields in the saved state of a deployment."""


class EngineState:
    """State of the deployments of every model group.

    Args:
        judge: the rule in force, which has state of its own.
        timer: clock in seconds for expiring unused deployments.
        retention: retention and resolution of samples.
        capacity: largest number of deployments.
    """

    def __init__(self, judge: TierRule, timer: Callable[[], float], retention: Retention, capacity: int) -> None:
        self._rule = judge
        self._windows = Windows(retention, judge.min_output_tokens)
        self._slots = SlotAllocator(capacity, retention.span_s, timer)
        self._tier_state = TierState()
        self._speed = empty_medians()
        self._latency = empty_medians()
        self.deltas: Deltas | None = None
        """Deltas of recorded samples, for storing or sharing them; None: not kept."""

    @property
    def dropped(self) -> int:
        """Samples that came too late to be counted."""
        return self._windows.dropped

    def groups(self) -> tuple[str, ...]:
        """Return the model groups with a deployment within the retention time."""
        return self._slots.groups

    def record(self, sample: Sample) -> None:
        """Count one finished answer or failed attempt."""
        added = self._windows.record(self._slot(sample.model_group, sample.deployment), sample)
        if self.deltas is not None:
            self.deltas.add(sample.model_group, sample.deployment, sample.at, added)

    def add(self, model_group: str, deployment: str, counts: Additions, cells: Mapping[int, int], at: float) -> None:
        """Count many samples of one time at once.

        They are for example another replica's or a simulation's; see ``Windows.add``.
        """
        self._windows.add(self._slot(model_group, deployment), counts, cells, at)

    def restart(self, model_group: str, deployment: str, now: float) -> None:
        """Restart the evidence of a deployment that was replaced as of ``now``.

        It has insufficient data from the next recompute on.
        """
        self._rule.restart(self._slot(model_group, deployment), now)

    def dump(self, model_group: str | None = None) -> Remembered:
        """Return the state beside the windows, by model group and deployment.

        Plain data; None: of all groups.
        """
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
        """Load the state that ``dump`` returned; unknown fields are ignored."""
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
        """Copy the windows of each deployment of a model group."""
        names = self._slots.of(model_group)
        return dict(zip(names, self._windows.read([self._slot(model_group, name) for name in names]), strict=True))

    def restore_windows(self, model_group: str, held: Mapping[str, WindowDump], *, add: bool = False) -> None:
        """Restore windows that ``copy_windows`` returned, or add them.

        With ``add`` the counts are added to the existing ones, else they replace them. Exact where the retention is
        the same.
        """
        slots = {self._slot(model_group, name): one for name, one in held.items()}
        if not add:
            self._windows.forget(slots)
        self._windows.add_dumps(slots)

    def dump_windows(self, model_group: str) -> dict[str, bytes]:
        """Return the windows of ``copy_windows`` as bytes for any version."""
        return {name: encode(held) for name, held in self.copy_windows(model_group).items()}

    def load_windows(self, model_group: str, dumped: Mapping[str, bytes], *, add: bool = False) -> None:
        """Restore the windows that ``dump_windows`` returned.

        Raises:
            WindowDumpError: some bytes cannot be decoded; then nothing is changed.
        """
        self.restore_windows(model_group, {name: decode(packed) for name, packed in dumped.items()}, add=add)

    def add_deltas(self, deltas: Iterable[Delta]) -> None:
        """Count the deltas of other processes; unknown counters are ignored."""
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
        """Expire samples without a recompute, in slices.

        For a process that does not recompute itself.
        """
        for slab in tuple(self._windows.blocks):
            slab.flush(now)
            yield
        yield from self._erase_expired()

    def _erase_expired(self) -> Iterator[None]:
        """Erase deployments without use for the retention time."""
        gone = self._slots.expire()
        for number in sorted({slot // ROWS for slot in gone}):
            slots = [slot for slot in gone if slot // ROWS == number]
            self._windows.forget(slots)
            self._tier_state.forget(slots)
            self._rule.forget(slots)
            self._slots.release(slots)
            yield
