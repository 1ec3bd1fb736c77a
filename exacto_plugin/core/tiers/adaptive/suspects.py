"""Deployments that are probably bad, without enough evidence for a verdict.

Their tier is ``insufficient_data`` and their traffic follows their chance; this names them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.tiers.columns import INSUFFICIENT_DATA
from exacto_plugin.core.tiers.signals import FEW_SAMPLES, PROBABLY_BAD, UNDECIDED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.exploration import TrafficPlan
    from exacto_plugin.core.tiers.adaptive.failure_rates import FailureRates
    from exacto_plugin.core.tiers.signals import SignalColumns


def name_suspects(
    columns: SignalColumns, tier: NDArray[np.int8], rates: FailureRates, plan: TrafficPlan
) -> SignalColumns:
    """Return the columns of tool calls with the reason ``probably_bad``.

    It replaces ``too_few_samples`` and ``undecided`` of deployments with insufficient data, at least ``derank_calls``
    calls, a rate above the threshold and a chance below ``suspect_chance`` of being within it. With fewer calls the
    chance tells about the prior more than about the deployment.
    """
    counts, rule = rates.within_ttl, rates.rule
    with np.errstate(invalid="ignore"):
        above = counts.rate() > rates.threshold
    unsure = (columns.code == FEW_SAMPLES) | (columns.code == UNDECIDED)
    found = unsure & (tier == INSUFFICIENT_DATA) & (counts.calls >= rule.derank_calls)
    found &= above & (plan.chance < rule.suspect_chance)
    code = np.where(found, PROBABLY_BAD, columns.code)
    return replace(columns, code=code, chance=plan.chance, traffic_share=plan.share)
