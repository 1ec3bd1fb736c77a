"""What probes may still cost: counted between two snapshots, so that the budgets of a snapshot hold.

The ordering of an attempt is a pure function; only this small counter beside it knows what was spent. Whom a probe
is worth sending to is the preset's business.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.model import Outcome

if TYPE_CHECKING:
    from exacto_plugin.core.model import Sample, Snapshot

_BAD = frozenset({Outcome.INVALID_JSON, Outcome.UNKNOWN_NAME, Outcome.SCHEMA_MISMATCH})

_MOST_ACCRUED = 3.0
"""Probes that a group may save up; more would let quiet hours pay for a storm of probes."""

_MOST_SKIPPED = 100
"""Turns of running conversations whose chances of a probe a new one takes over at most, for the same reason."""


class ProbeShare(NamedTuple):
    """One process's part of the budgets of a snapshot that several serve."""

    position: int = 0
    """Its place among them, from 0; -1 for one that came later and has no part before the next snapshot."""
    workers: int = 1

    def of(self, budget: float, key: tuple[str, str], snapshot: str) -> int:
        """How many of at most ``budget`` probes are this process's; over all processes they add up to it.

        What cannot be divided goes to others with each deployment and each snapshot.
        """
        whole = math.ceil(budget) if budget > 0 else 0
        if self.workers == 1 or whole == 0:
            return whole
        if self.position < 0:
            return 0
        each, left = divmod(whole, self.workers)
        first = zlib.crc32("\0".join((*key, snapshot)).encode())
        return each + ((self.position + first) % self.workers < left)


class ProbeBudget:
    """Probes spent and allowed, by model group and by deployment."""

    __slots__ = ("_accrued", "_faults", "_skipped", "_spent", "share")

    def __init__(self) -> None:
        self.share = ProbeShare()
        self._accrued: dict[str, float] = {}
        self._spent: dict[tuple[str, str], int] = {}
        self._faults: dict[tuple[str, str], int] = {}
        self._skipped: dict[str, int] = {}

    def reset(self, snapshot: Snapshot) -> None:
        """A new snapshot is in force: its budgets begin; groups that are gone lose what they saved."""
        self._spent.clear()
        self._faults.clear()
        self._accrued = {group: saved for group, saved in self._accrued.items() if group in snapshot.groups}
        self._skipped = {group: passed for group, passed in self._skipped.items() if group in snapshot.groups}

    def accrue(self, model_group: str, share: float) -> None:
        """One request may be a probe with probability ``share``; in the long run no more are."""
        self._accrued[model_group] = min(_MOST_ACCRUED, self._accrued.get(model_group, 1.0) + share)

    def skip(self, model_group: str) -> None:
        """A request of a running conversation went by, which may not be a probe."""
        self._skipped[model_group] = min(_MOST_SKIPPED, self._skipped.get(model_group, 0) + 1)

    def take_skipped(self, model_group: str) -> int:
        """The requests that went by since this was last asked; the one at hand takes over their chances."""
        return self._skipped.pop(model_group, 0)

    def allows(self, snapshot: Snapshot, model_group: str, deployment: str) -> bool:
        """Whether a probe of this deployment is within all budgets."""
        verdict = snapshot.verdict(model_group, deployment)
        if verdict is None or self._accrued.get(model_group, 1.0) < 1.0:
            return False
        key = (model_group, deployment)
        budget, faults = verdict.probe_budget, verdict.probe_faults
        if self.share.workers > 1:
            budget = self.share.of(budget, key, snapshot.id)
            # At least one, else a budget could not be spent; who has a part of it may find out.
            faults = max(min(faults, 1.0), faults / self.share.workers)
        return self._spent.get(key, 0) < budget and self._faults.get(key, 0) < faults

    def charge(self, model_group: str, deployment: str) -> None:
        """A probe was sent, or a further turn of a conversation that one began; may leave a debt."""
        key = (model_group, deployment)
        self._spent[key] = self._spent.get(key, 0) + 1
        self._accrued[model_group] = self._accrued.get(model_group, 1.0) - 1.0

    def record_result(self, sample: Sample) -> None:
        """A probe came back; counts its failures, which may end a burst before the next recompute."""
        if not sample.ok or sample.lost or (sample.outcome is not None and sample.outcome in _BAD):
            key = (sample.model_group, sample.deployment)
            self._faults[key] = self._faults.get(key, 0) + 1
