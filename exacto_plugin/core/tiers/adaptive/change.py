"""Changes of a recompute in a block, by the measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.tiers.adaptive.state import ERRORS
from exacto_plugin.core.tiers.columns import VERIFIED_GOOD
from exacto_plugin.core.tiers.signals import BELOW, FEW_PEERS, FEW_SAMPLES, READMITTED, RESTARTED, UNDECIDED, WITHIN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.failure_rates import FailureRates
    from exacto_plugin.core.tiers.signals import Strictness


class BlockChange(NamedTuple):
    """Changes in a block, ``[group, deployment]``."""

    cause: NDArray[np.int8]
    tier: NDArray[np.int8]
    """Tier by the measurements, without capacity relief."""
    deranked_now: NDArray[np.bool_]
    """Deranked by this recompute."""
    readmitted: NDArray[np.bool_]
    """Readmitted by this recompute."""
    improved: NDArray[np.bool_]
    """Evidence restarted because of a sudden improvement."""
    improved_s: NDArray[np.float64]
    by_price: NDArray[np.bool_]
    """Deranked only because bad calls have a price; all that are so."""
    lifted: NDArray[np.bool_]
    """Out by price until this recompute, which takes it back."""
    strictness: Strictness
    by_run: NDArray[np.bool_]
    """Good by a run of the verifier alone, not by traffic."""


def tool_call_codes(rates: FailureRates, change: BlockChange, wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the reason codes of tool calls; a later condition takes precedence."""
    code = np.where(rates.within_ttl.calls < wanted, FEW_SAMPLES, UNDECIDED)
    code = np.where(np.isnan(rates.threshold), FEW_PEERS, code)
    code = np.where((change.tier == VERIFIED_GOOD) & ~change.by_run, WITHIN, code)
    readmitted = change.readmitted & ~change.by_run
    code = np.where(change.improved, RESTARTED, np.where(readmitted, READMITTED, code))
    return np.where(change.cause & ERRORS > 0, BELOW, code)
