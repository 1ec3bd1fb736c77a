"""Long-run pick shares of many model groups at once, from their tiers.

The same shares as ``pick_shares.shares`` gives for one request without preferences (a test compares them), as arrays
``[group, deployment]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.tiers.columns import DERANKED, INSUFFICIENT_DATA, VERIFIED_GOOD
from exacto_plugin.simulate.pick_shares import expected_shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.columns import TierAssignments

    Floats = NDArray[np.float64]


def block_shares(weight: Floats, assignments: TierAssignments) -> Floats:
    """Return the shares of a lottery by ``weight`` within the tiers, without probes.

    Args:
        weight: positive for the members of each group, else 0; ``[group, deployment]``.
        assignments: tiers and plan of the same groups.
    """
    member, tier, plan = weight > 0, assignments.tier, assignments.probe_plan
    rank = np.where(member, tier, DERANKED + 1)
    result = normalised(np.where(rank == rank.min(axis=1, keepdims=True), weight, 0.0))
    if plan is None:
        return result
    merged = np.flatnonzero(plan.merges_tiers & ((tier == INSUFFICIENT_DATA) & member).any(axis=1))
    if len(merged):
        result[merged] = _merged(weight[merged], tier[merged], plan.keep_probability[merged])
    return result


def normalised(weight: Floats) -> Floats:
    """Return shares in proportion to weights; 0 where a group has none."""
    total = weight.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weight, total, out=np.zeros_like(weight), where=total > 0))


def _merged(weight: Floats, tier: NDArray[np.int8], keep: Floats) -> Floats:
    """Return the shares where insufficient data shares the traffic by chance."""
    unsure = (tier == INSUFFICIENT_DATA) & (weight > 0)
    chance = np.where(unsure, keep, 0.0)
    certain = np.where((tier == VERIFIED_GOOD) | (chance >= 1.0), weight, 0.0)
    at_random = np.where((chance > 0.0) & (chance < 1.0), weight, 0.0)
    sure = certain.sum(axis=1)
    unit, each = expected_shares(at_random, np.where(at_random > 0, chance, 0.0), sure)
    result = certain * unit[:, np.newaxis] + each
    # Nobody is drawn: those with the highest chance serve.
    most = unsure & (chance == np.where(unsure, chance, -1.0).max(axis=1, keepdims=True))
    nobody = np.where(sure > 0, 0.0, np.where(unsure, 1.0 - chance, 1.0).prod(axis=1))
    result += nobody[:, np.newaxis] * normalised(np.where(most, weight, 0.0))
    return normalised(result)
