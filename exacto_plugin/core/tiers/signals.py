"""Signals of a block as columns: measured values, references and reason codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from exacto_plugin.core.model import Reason, ReasonCode, Reference, Signal
from exacto_plugin.core.steps import NextStep, StepChoice

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODES = tuple(ReasonCode)
NO_REASON = -1
"""In place of a reason code: the signal has no reason for the deployment."""

WITHIN, BELOW, FEW_SAMPLES, FEW_PEERS, UNDECIDED, READMITTED, RESTARTED, CAPACITY, PROBABLY_BAD, LEARNED = map(
    CODES.index,
    (
        ReasonCode.WITHIN_THRESHOLD,
        ReasonCode.BELOW_THRESHOLD,
        ReasonCode.TOO_FEW_SAMPLES,
        ReasonCode.TOO_FEW_PEERS,
        ReasonCode.UNDECIDED,
        ReasonCode.READMITTED,
        ReasonCode.EVIDENCE_RESTARTED,
        ReasonCode.CAPACITY,
        ReasonCode.PROBABLY_BAD,
        ReasonCode.LEARNED_CAPACITY,
    ),
)
"""Indices into ``CODES``."""


def reason_codes(
    member: NDArray[np.bool_], abnormal: NDArray[np.bool_], enough: NDArray[np.bool_], unknown: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the reason code of each deployment for one signal.

    Too few samples take precedence over too few peers, and both over the comparison.

    Args:
        member: False in the padding of the block.
        abnormal: the value is worse than its threshold.
        enough: the deployment has enough samples.
        unknown: there is no threshold, since there are too few peers.

    >>> member, no = np.array([[True, True, True, False]]), np.array([[False] * 4])
    >>> abnormal, enough = np.array([[True, False, True, True]]), np.array([[True, True, False, True]])
    >>> [CODES[code].value for code in reason_codes(member, abnormal, enough, no)[0, :3]]
    ['below_threshold', 'within_threshold', 'too_few_samples']
    """
    code = np.where(abnormal, BELOW, WITHIN)
    code = np.where(unknown, FEW_PEERS, code)
    code = np.where(enough, code, FEW_SAMPLES)
    return np.where(member, code, NO_REASON)


def finite_or_none(number: np.float64 | float) -> float | None:
    """Convert NaN to None, so that the value can be written as JSON."""
    return None if math.isnan(number) else float(number)


def _value_at(column: NDArray[Any], group: int, place: int) -> Any:
    """Return a number of a column per group or per deployment."""
    return column[group] if column.ndim == 1 else column[group, place]


class Strictness(NamedTuple):
    """How strict a block's thresholds are, and what a stricter step would change.

    Failure rates; per group, or per deployment.
    """

    step: NDArray[np.float64]
    """Distance above the second-best peer, per group; NaN without thresholds."""
    next_step: NDArray[np.float64]
    """The next stricter one."""
    cost: NDArray[np.float64]
    """By how much it would raise the mean price, relative to that of the step."""
    saves: NDArray[np.float64]
    """By how much it would lower the rate of bad calls."""
    convicts: NDArray[np.float64]
    """Per deployment: the rate above which calls derank, since bad calls have a price."""
    acquits: NDArray[np.float64]
    """Per deployment: the rate below which calls verify or, once deranked, readmit."""
    by_price: NDArray[np.bool_]
    """Deployments that only ``convicts`` deranks."""

    def of(self, group: int, place: int) -> StepChoice | None:
        """Return what a deployment's reason tells; None without thresholds."""
        step, *after = (float(column[group]) for column in self[:4])
        convicts, acquits = float(self.convicts[group, place]), float(self.acquits[group, place])
        if any(map(math.isnan, (step, convicts, acquits))):
            return None
        return StepChoice(step, convicts, acquits, NextStep(*after), bool(self.by_price[group, place]))


@dataclass(frozen=True, slots=True)
class SignalColumns:
    """One signal of a block: measured values, references and reason codes."""

    signal: Signal
    value: NDArray[np.float64]
    """Per deployment; NaN without a measurement."""
    samples: NDArray[np.int64]
    code: NDArray[np.int64]
    """Per deployment: index into ``CODES``, or ``NO_REASON``."""
    median: NDArray[np.float64]
    """Per group, as are ``mad`` and ``peers``.
    ``needed`` and ``window_s`` are per group or per deployment."""
    mad: NDArray[np.float64]
    threshold: NDArray[np.float64]
    """Per deployment; NaN when the signal cannot derank it."""
    peers: NDArray[np.int64]
    needed: NDArray[np.int64]
    window_s: NDArray[np.float64]
    min_peers: int
    strictness: Strictness | None = None
    """None for a signal with one threshold."""
    chance: NDArray[np.float64] | None = None
    """Per deployment: chance of being within the threshold, as ``traffic_share`` for
    reasons ``probably_bad``."""
    traffic_share: NDArray[np.float64] | None = None
    """Share of the requests with tools."""
    runs: NDArray[np.object_] | None = None
    """Per deployment: the run that the value comes from; None for measured traffic."""
    has_reference: bool = True
    """False for a signal that compares no deployments."""

    def reason(self, group: int, place: int) -> Reason | None:
        """Return this signal's reason for one deployment; None without one."""
        code = int(self.code[group, place])
        if code == NO_REASON:
            return None
        few_peers = CODES[code] is ReasonCode.TOO_FEW_PEERS
        chance, share = self._suspicion(group, place)
        return Reason(
            CODES[code],
            self.signal,
            finite_or_none(self.value[group, place]),
            finite_or_none(self.threshold[group, place]),
            int(self.samples[group, place]),
            self.min_peers if few_peers else int(_value_at(self.needed, group, place)),
            float(_value_at(self.window_s, group, place)),
            int(_value_at(self.peers, group, place)) if few_peers else 0,
            None if self.strictness is None else self.strictness.of(group, place),
            chance=chance,
            traffic_share=share,
            run=None if self.runs is None else self.runs[group, place],
        )

    def _suspicion(self, group: int, place: int) -> tuple[float, float] | tuple[None, None]:
        """Return chance and share of the traffic of a suspect; None for others."""
        if self.chance is None or self.traffic_share is None or self.code[group, place] != PROBABLY_BAD:
            return None, None
        return float(self.chance[group, place]), float(self.traffic_share[group, place])

    def reference(self, group: int) -> Reference:
        """Return the reference of one group."""
        # The threshold of the first one that the usual threshold is for.
        place = 0 if self.strictness is None else self.strictness.by_price[group].argmin()
        return Reference(
            self.signal,
            finite_or_none(self.median[group]),
            finite_or_none(self.mad[group]),
            finite_or_none(self.threshold[group, place]),
            int(self.peers[group]),
        )
