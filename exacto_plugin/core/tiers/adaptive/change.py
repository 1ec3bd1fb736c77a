"""Changes of a recompute in a block, by the measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
