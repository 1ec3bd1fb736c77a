"""Probes in a simulation, by the snapshot in force and within the probe budgets.

The shares come from ``core.routing.ordering``, the budget from ``core.routing.probe_budget``; here requests are
processed in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.core.routing.probe_budget import ProbeBudget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import Snapshot


class Probing:
    """The probes of several model groups, one a repetition."""

    def __init__(self, groups: Sequence[str], names: Sequence[DeploymentKey]) -> None:
        self._groups = groups
        self._names = names
        self._budget = ProbeBudget()
        self._snapshot: Snapshot | None = None
        self.shares = np.zeros((len(groups), len(names)))
        """Probability that a request probes a deployment, within the budgets."""

    def renew(self, snapshot: Snapshot) -> None:
        """Set the snapshot in force."""
        self._snapshot = snapshot
        self._budget.reset(snapshot)

    def set_shares(self, number: int, shares: Mapping[DeploymentKey, float]) -> None:
        """Set one repetition's probabilities to probe each deployment."""
        self.shares[number] = [shares.get(name, 0.0) for name in self._names]

    def wanted(self, repetition: NDArray[np.int64], draws: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the deployment that each request would probe; -1: none.

        ``draws`` are uniform.
        """
        if not self.shares.any():
            return np.full(len(draws), -1)
        ladder = np.cumsum(self.shares, axis=1)
        wanted = np.full(len(draws), -1)
        near = np.flatnonzero(draws < ladder[:, -1][repetition])
        wanted[near] = (draws[near, np.newaxis] >= ladder[repetition[near]]).sum(axis=1)
        return wanted

    def granted(
        self, repetition: NDArray[np.int64], wanted: NDArray[np.int64], faulty: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return which of the wanted probes take place; ``faulty``: those that would fail.

        Requests are in the order of their arrival, separately for each repetition; each of them accrues budget.
        """
        granted = np.zeros(len(wanted), np.bool_)
        asking = np.flatnonzero(wanted >= 0)
        if self._snapshot is None or not self.shares.any():
            return granted
        share = self.shares.sum(axis=1).tolist()
        first = np.searchsorted(repetition, np.arange(len(self._groups) + 1)).tolist()
        passed = first[:-1]
        asked = (asking.tolist(), repetition[asking].tolist(), wanted[asking].tolist(), faulty[asking].tolist())
        for at, number, place, fails in zip(*asked, strict=True):
            group, name = self._groups[number], self._names[place]
            self._budget.accrue(group, share[number] * (at + 1 - passed[number]))
            passed[number] = at + 1
            if not self._budget.allows(self._snapshot, group, name):
                continue
            granted[at] = True
            self._budget.charge(group, name)
            if fails:
                self._budget.record_result(
                    Sample(group, name, 0.0, tools_offered=True, outcome=Outcome.INVALID_JSON, probe=True)
                )
        for number, group in enumerate(self._groups):
            self._budget.accrue(group, share[number] * (first[number + 1] - passed[number]))
        return granted
