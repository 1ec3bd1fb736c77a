"""Tracks the probes spent between two snapshots against the snapshot's budgets.

The decision of an attempt is a pure function; this counter holds the state beside it. The preset decides which
deployments are worth a probe.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.model import BROKEN, Blame

if TYPE_CHECKING:
    from exacto_plugin.core.model import DeploymentKey, Sample, Snapshot

MOST_ACCRUED = 3.0
"""Most unused probes that a model group can accumulate.
A larger number would let quiet hours lead to a burst of probes."""

_MOST_SKIPPED = 100
"""Most skipped conversation turns whose probe share a new conversation takes over.
Bounded for the same reason."""


class ProbeShare(NamedTuple):
    """One process's share of the budgets of a snapshot that several processes use."""

    position: int = 0
    """Index among the processes, from 0.
    -1 for a process that joined later and has no share before the next snapshot."""
    workers: int = 1

    def of(self, budget: float, key: tuple[str, DeploymentKey], snapshot: str) -> int:
        """Return this process's part of ``budget`` probes; the parts add up to the budget.

        The remainder of the division goes to different processes for each deployment and each snapshot.
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
        self._spent: dict[tuple[str, DeploymentKey], int] = {}
        self._faults: dict[tuple[str, DeploymentKey], int] = {}
        self._skipped: dict[str, int] = {}

    def reset(self, snapshot: Snapshot) -> None:
        """Start the budgets of a new snapshot; removed groups lose their unused probes."""
        self._spent.clear()
        self._faults.clear()
        self._accrued = {group: saved for group, saved in self._accrued.items() if group in snapshot.groups}
        self._skipped = {group: passed for group, passed in self._skipped.items() if group in snapshot.groups}

    def accrue(self, model_group: str, share: float) -> None:
        """Add one request's probe probability ``share``; it bounds the long-run rate."""
        self._accrued[model_group] = min(MOST_ACCRUED, self._accrued.get(model_group, 1.0) + share)

    def skip(self, model_group: str) -> None:
        """Count a request of a running conversation, which may not be a probe."""
        self._skipped[model_group] = min(_MOST_SKIPPED, self._skipped.get(model_group, 0) + 1)

    def take_skipped(self, model_group: str) -> int:
        """Return and clear the number of skipped requests, for the current one to use."""
        return self._skipped.pop(model_group, 0)

    def allows(self, snapshot: Snapshot, model_group: str, deployment: DeploymentKey) -> bool:
        """Check that a probe of this deployment is within all budgets."""
        verdict = snapshot.verdict(model_group, deployment)
        if verdict is None or self._accrued.get(model_group, 1.0) < 1.0:
            return False
        key = (model_group, deployment)
        budget, faults = verdict.probe_budget, verdict.probe_faults
        if self.share.workers > 1:
            budget = self.share.of(budget, key, snapshot.id)
            # At least one failure is allowed, else no process could spend its part of the budget.
            faults = max(min(faults, 1.0), faults / self.share.workers)
        return self._spent.get(key, 0) < budget and self._faults.get(key, 0) < faults

    def charge(self, model_group: str, deployment: DeploymentKey) -> None:
        """Charge a probe, or a further turn of a conversation that a probe started.

        The balance may become negative.
        """
        key = (model_group, deployment)
        self._spent[key] = self._spent.get(key, 0) + 1
        self._accrued[model_group] = self._accrued.get(model_group, 1.0) - 1.0

    def record_result(self, sample: Sample, *, broken_counts: bool = False) -> None:
        """Count the failures of probes, which may end a burst before the next recompute.

        With ``broken_counts``, broken answers are failures.
        """
        failed = not sample.ok or sample.lost or (sample.outcome is not None and sample.outcome.is_bad)
        if failed or (broken_counts and sample.blame is Blame.PROVIDER and not BROKEN.isdisjoint(sample.flaws)):
            key = (sample.model_group, sample.deployment)
            self._faults[key] = self._faults.get(key, 0) + 1
