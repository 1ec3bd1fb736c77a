"""Findings of the verifier in the adaptive rule, beside the evidence of traffic.

A finding flags a deployment or clears it. It counts while it is newer than the start of the deployment's evidence, so a
run from before a derank does not readmit; the finding that deranked counts as long as its derank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Signal
from exacto_plugin.core.tiers.adaptive.state import ERRORS, VERIFIER
from exacto_plugin.core.tiers.signals import BELOW, NO_REASON, READMITTED, UNDECIDED, WITHIN, SignalColumns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.columns import Block

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]


class VerifierFindings(NamedTuple):
    """Findings that count, ``[group, deployment]``."""

    flagged: Bools
    cleared: Bools
    started: Floats
    """Start of the run; NaN without a finding that counts."""
    runs: NDArray[np.object_]
    """Names of the runs."""
    value: Floats
    """Share of calls that were good."""
    limit: Floats
    calls: NDArray[np.int64]
    hold_s: float
    known: Bools
    """Deployments with a finding, whether it counts or not."""
    at: Floats
    """End of the run of each such finding; NaN without one."""

    def after_traffic(self, cause: NDArray[np.int8], recovered: Bools) -> NDArray[np.int8]:
        """Return the reasons of deranks without those that findings or traffic end.

        A finding that clears ends a reason of tool calls, from traffic or from a run; so does traffic. A flag ends with
        its time. Without any finding at hand (the store cannot be read) nothing changes.
        """
        ends = recovered | self.cleared
        cause = np.where(ends, cause & ~(ERRORS | VERIFIER), cause)
        return np.where(self.known & ~self.flagged, cause & ~VERIFIER, cause).astype(np.int8)

    def columns(self, readmitted: Bools) -> SignalColumns:
        """Return the reasons; ``readmitted`` are those that a finding readmits now."""
        code = np.where(self.flagged, BELOW, np.where(self.cleared, WITHIN, UNDECIDED))
        code = np.where(readmitted, READMITTED, code)
        groups = len(code)
        nothing = np.full(groups, np.nan)
        return SignalColumns(
            Signal.VERIFIER,
            self.value,
            self.calls,
            np.where(np.isnan(self.started), NO_REASON, code),
            nothing,
            nothing,
            self.limit,
            np.zeros(groups, np.int64),
            np.zeros(groups, np.int64),
            np.full(groups, self.hold_s),
            1,
            runs=self.runs,
            has_reference=False,
        )


def verifier_findings(
    block: Block, scores: Mapping[str, BenchmarkScores], memory: AdaptiveState, now: float, hold_s: float
) -> VerifierFindings:
    """Lay out the findings of a block's groups that count.

    Args:
        block: the model groups.
        scores: by model group; each has the findings of its deployments.
        memory: has the start of each deployment's evidence, and the reasons of its derank.
        now: UTC seconds.
        hold_s: seconds that a finding counts.
    """
    shape = block.member.shape
    flagged, cleared = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    started, value, limit, at = (np.full(shape, np.nan) for _ in range(4))
    calls, known = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    runs = np.full(shape, None, np.object_)
    for number, group in enumerate(block.groups):
        given = scores.get(group)
        for deployment, found in () if given is None else given.findings.items():
            place = block.positions[number].get(deployment)
            if place is None:
                continue
            here, slot = (number, place), block.slots[number, place]
            known[here], at[here] = True, found.at
            caused = bool(memory.cause[slot] & VERIFIER) and found.flagged
            if not 0 <= now - found.at <= hold_s or (found.started < memory.epoch[slot] and not caused):
                continue
            flagged[here], cleared[here], started[here] = found.flagged, found.cleared, found.started
            value[here], limit[here] = 1 - found.bad / max(1, found.calls), 1 - found.limit
            calls[here], runs[here] = found.calls, found.run
    return VerifierFindings(flagged, cleared, started, runs, value, limit, calls, hold_s, known, at)
