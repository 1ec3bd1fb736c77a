"""Times at which the adaptive rule says something else about unchanged windows.

Measurements depend on the age of the evidence, verdicts on pauses, trials, common causes and learned limits. A
recompute reads and judges again where such a time has come; see ``engine.kept`` for what else makes it do so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.tiers.adaptive.common_cause import KEPT_S
from exacto_plugin.core.tiers.adaptive.evidence import DAY, WINDOWS_S, reach_of
from exacto_plugin.core.tiers.columns import VERIFIED_GOOD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.common_cause import CommonCauses
    from exacto_plugin.core.tiers.adaptive.evidence import Evidence
    from exacto_plugin.core.tiers.adaptive.exploration import ProbeBackoff, ProbeDemand
    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.adaptive.refusals import LearnedLimits
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.columns import Block
    from exacto_plugin.core.tiers.verifier import VerifierFindings

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

_ROUNDING_S = 1.0
"""Seconds around a time in which sums of floats may put it on either side."""


def due_slots(
    memory: AdaptiveState,
    evidence: Evidence,
    rule: AdaptiveParameters,
    widths: Sequence[tuple[int, int]],
    before: float,
    now: float,
) -> NDArray[np.intp]:
    """Return the slots to measure again although their windows are read as before.

    Their evidence, or a trial with calls, began so long ago that it fills another window, or a deranked deployment's
    history begins at a later period.

    Args:
        memory: state of the rule.
        evidence: the last measurements.
        rule: the parameters.
        widths: seconds per period and total seconds of the counter rings, finest first.
        before: time of the last measurement.
        now: UTC seconds.
    """
    reach_s = reach_of(rule)
    slots = np.flatnonzero((memory.cause > 0) | (memory.epoch > before - reach_s - 2 * _ROUNDING_S))
    trial = np.where(evidence.burst_calls[slots] > 0, memory.burst_from[slots], np.nan)
    # A trial counts from the start of its minute.
    begun = np.stack([memory.epoch[slots], trial, np.floor(trial / 60) * 60])[:, np.newaxis]
    ages_s = np.array([*WINDOWS_S[: DAY + 1], reach_s])[:, np.newaxis]
    with np.errstate(invalid="ignore"):
        grown = (before - begun <= ages_s + _ROUNDING_S) & (now - begun >= ages_s - _ROUNDING_S)
        found = grown.any(axis=(0, 1)) | (begun > before).any(axis=(0, 1))
    width_s = next((width_s for width_s, ring_s in widths if ring_s >= reach_s), widths[-1][0])
    if before // width_s != now // width_s:
        found |= memory.cause[slots] > 0
    return np.asarray(slots[found])


def verdicts_hold_until(
    block: Block,
    deranked: Bools,
    backoff: ProbeBackoff,
    common: CommonCauses,
    limits: LearnedLimits,
    runs: VerifierFindings,
    now: float,
) -> Floats:
    """Return per group the UTC seconds until which its verdicts hold.

    Until then equal measurements give equal verdicts.

    That is the next trial, the end of a verifier's finding or of the account of a common cause; with a learned limit,
    which rises with time, only until now. The holds of the speed's verdict end as evidence fills an hour and a day: see
    ``due_slots``.
    """
    waits = block.member & deranked & np.isnan(backoff.burst_from)
    times = [np.where(waits, backoff.burst_at, np.inf)]
    times.append(np.where(block.member & ~np.isnan(limits.refused_at), now, np.inf))
    # A finding counts from the end of its run on, for as long as it holds.
    times += [runs.at, runs.at + runs.hold_s]
    first = np.fmin.reduce([np.where(at < now - _ROUNDING_S, np.inf, at - _ROUNDING_S) for at in times])
    first = np.nan_to_num(first, nan=np.inf).min(axis=-1)
    return np.minimum(first, np.nan_to_num(common.end + KEPT_S - _ROUNDING_S, nan=np.inf))


def plans_by_interval(block: Block, tier: NDArray[np.int8], deranked: Bools, demand: ProbeDemand) -> Bools:
    """Return the groups whose probes depend on the interval of recomputes.

    Those with an undecided deployment or with a trial.
    """
    undecided = ~deranked & (tier != VERIFIED_GOOD)
    return np.asarray((block.member & (undecided | demand.in_burst | demand.is_steady)).any(axis=-1))
