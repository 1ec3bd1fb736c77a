"""State of the adaptive rule beside the windows, one column per number.

Tiers follow from the windows and this state, which can be saved and loaded as plain data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.core.tiers.columns import DERANKED, INSUFFICIENT_DATA, TIERS
from exacto_plugin.core.wire import wire, wire_names

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

ERRORS, SLOW, PROPENSITY, BENCHMARK, VERIFIER, BROKEN = 1, 2, 4, 8, 16, 32
"""Reasons of a derank, as bits; ``BROKEN`` stands for broken answers."""

_CAUSES = ERRORS | SLOW | PROPENSITY | BENCHMARK | VERIFIER | BROKEN

MOST_FAILED = 30
"""Largest count of failed trials in a row; the longest pause is reached long
before."""

_START: Mapping[str, tuple[Any, float]] = {
    "tier": (np.int8, INSUFFICIENT_DATA),
    "cause": (np.int8, 0),
    "epoch": (np.float64, 0.0),
    "frozen": (np.float64, np.nan),
    "frozen_calls": (np.float64, 0.0),
    "frozen_window_s": (np.float64, 0.0),
    "phi": (np.float64, 2.0),
    "level": (np.int8, 0),
    "burst_at": (np.float64, np.nan),
    "burst_from": (np.float64, np.nan),
    "by_price": (np.bool_, False),
    "common_begin": (np.float64, np.nan),
    "common_end": (np.float64, np.nan),
    "common_rise": (np.float64, np.nan),
    "common_deployments": (np.float64, np.nan),
    "limit": (np.float64, np.nan),
    "refused_at": (np.float64, np.nan),
    "refused_share": (np.float64, np.nan),
    "suspended": (np.bool_, False),
}

_FLOATS = {name for name, (kind, _) in _START.items() if kind is np.float64}


@wire(
    "tier cause epoch frozen frozen_calls frozen_window_s phi level burst_at burst_from by_price "
    "common_begin common_end common_rise common_deployments limit refused_at refused_share suspended"
)
class AdaptiveState:
    """Columns by slot, in the order in which verification reads them."""

    __slots__ = tuple(_START)

    tier: NDArray[np.int8]
    """Tier by the measurements, an index into ``TIERS``; without capacity relief."""
    cause: NDArray[np.int8]
    """Bits; 0 unless deranked."""
    epoch: NDArray[np.float64]
    """Start of the evidence that counts, UTC seconds."""
    frozen: NDArray[np.float64]
    """Failure rate at the derank, used as the reference of peers; NaN unless deranked."""
    frozen_calls: NDArray[np.float64]
    frozen_window_s: NDArray[np.float64]
    phi: NDArray[np.float64]
    """Design effect of the model group at the last recompute."""
    level: NDArray[np.int8]
    """Failed trials in a row."""
    burst_at: NDArray[np.float64]
    """Earliest start of the next trial."""
    burst_from: NDArray[np.float64]
    """Start of the trial in progress; NaN without one."""
    by_price: NDArray[np.bool_]
    """Deranked only because bad calls have a price; see ``strictness``."""
    common_begin: NDArray[np.float64]
    """The model group's latest common cause, as are the others; see ``CommonCauses``."""
    common_end: NDArray[np.float64]
    common_rise: NDArray[np.float64]
    common_deployments: NDArray[np.float64]
    limit: NDArray[np.float64]
    """Learned requests a minute, see ``refusals``; NaN without, as the next two."""
    refused_at: NDArray[np.float64]
    refused_share: NDArray[np.float64]
    suspended: NDArray[np.bool_]
    """Conviction by price that is suspended; see ``suspension``."""

    def __init__(self) -> None:
        for name, (kind, _) in _START.items():
            setattr(self, name, np.zeros(0, kind))

    def __len__(self) -> int:
        return len(self.tier)

    def resize(self, slots: int) -> None:
        """Resize the columns to slots below ``slots``."""
        if (more := slots - len(self)) > 0:
            for name, (kind, start) in _START.items():
                setattr(self, name, np.append(getattr(self, name), np.full(more, start, kind)))

    def forget(self, slots: Collection[int]) -> None:
        """Reset slots to their initial state."""
        for name, (_, start) in _START.items():
            getattr(self, name)[list(slots)] = start

    def restart(self, slot: int, now: float) -> None:
        """Restart the evidence of a slot whose deployment was replaced."""
        self.forget([slot])
        self.epoch[slot] = now

    def read(self, slots: NDArray[np.intp]) -> list[NDArray[Any]]:
        """Return a copy of the columns of some slots."""
        return [getattr(self, name)[slots] for name in _START]

    def differs(self, before: list[NDArray[Any]], slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Compare the columns of some slots with what ``read`` returned; NaN equals NaN.

        Most columns stay the same, which their bytes tell in a third of the time.
        """
        found = np.zeros(len(slots), np.bool_)
        for held, own in zip(before, self.read(slots), strict=True):
            if held.tobytes() != own.tobytes():
                found |= (held != own) & ((held == held) | (own == own))
        return found

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """Return one deployment's columns as plain data; NaN is written as None."""
        plain: dict[str, float | int | str | None] = {}
        for attribute, name in wire_names(AdaptiveState).items():
            number = getattr(self, attribute)[slot].item()
            plain[name] = None if number != number else number
        return plain | {"tier": TIERS[self.tier[slot]].value}

    def load(self, slot: int, plain: Mapping[str, Any]) -> None:
        """Load one deployment's columns; unknown or missing values are ignored.

        Values from another version are limited to the range of the columns.
        """
        self.forget([slot])
        tiers = [tier.value for tier in TIERS]
        for attribute, name in wire_names(AdaptiveState).items():
            value = plain.get(name)
            if name == "tier" and value in tiers:
                self.tier[slot] = tiers.index(value)
            elif name == "cause" and isinstance(value, int):
                self.cause[slot] = value & _CAUSES
            elif name == "level" and isinstance(value, int):
                self.level[slot] = min(max(value, 0), MOST_FAILED)
            elif name in ("by_price", "suspended"):
                getattr(self, attribute)[slot] = value is True
            elif attribute in _FLOATS and isinstance(value, int | float):
                getattr(self, attribute)[slot] = value
        if self.tier[slot] == DERANKED and not self.cause[slot]:
            self.cause[slot] = ERRORS
        self.by_price[slot] &= self.cause[slot] == ERRORS
