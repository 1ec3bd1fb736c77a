"""Rates with intervals of 95 %, as reports tell them."""

from __future__ import annotations

import numpy as np

from exacto_plugin.core.stats.binomial import wilson_lower, wilson_upper

Z = 1.959964
"""Of intervals of 95 %."""
PHI = 2.0
"""Design effect; see ``AdaptiveParameters.phi_start``."""


def rate(part: float, among: float) -> dict[str, float] | None:
    """Return a rate with Wilson's interval of 95 %; None among nothing.

    Counts are halved, as answers of one conversation are alike.
    """
    if among <= 0:
        return None
    some, all_ = np.array(min(part, among) / PHI), np.array(among / PHI)
    low, high = float(wilson_lower(some, all_, Z)), float(wilson_upper(some, all_, Z))
    return {"value": min(part, among) / among, "low": max(0.0, low), "high": min(1.0, high)}
