"""Runs of the verifier compared: findings, and how alike deployments call tools.

A deployment is compared with the reference where one is named and has a run, else with the best of up to three others,
or the second best of more. Only runs of one suite are compared; the newest of a deployment counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.benchmark_scores.sequential import FailureTest, RunDecision
from exacto_plugin.core.model import DeploymentKey, VerifierFinding
from exacto_plugin.core.stats.binomial import wilson_upper

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exacto_plugin.records import VerifierRecord

LEAST_COMPARED = 50
"""Calls that a run needs to be compared with. Source: ``peer_calls`` of the adaptive rule."""

_FEW = 3
"""Up to as many others the best is the comparison, with more the second best. Source: the adaptive rule."""

_Z = 1.0
"""The z of the upper end of Wilson's interval for the comparison's rate. Source: ``peer_z`` of the adaptive rule."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run beside those that it is compared with."""

    record: VerifierRecord
    decision: RunDecision
    """Undecided for a flag without anything to compare with."""
    test: FailureTest
    against: str
    """The deployment that it is compared with; empty without one."""
    similarity: float | None
    """F1 of the choice to call a tool, 0..1; None without a comparison or without calls."""


def comparisons(records: Iterable[VerifierRecord], reference: str | None, suite: str | None = None) -> list[Comparison]:
    """Compare the newest accepted run of each deployment of a model group.

    Args:
        records: of the group, in order of time.
        reference: the deployment that the others are compared with; None: with each other.
        suite: only runs of this one; None: that of each deployment's newest run.
    """
    newest: dict[str, VerifierRecord] = {}
    for record in records:
        if not record.refused and suite in (None, record.suite):
            newest[record.deployment] = record
    found = []
    for record in newest.values():
        others = [one for one in newest.values() if one is not record and one.suite == record.suite]
        found.append(compare(record, others, reference))
    return found


def compare(record: VerifierRecord, others: Sequence[VerifierRecord], reference: str | None) -> Comparison:
    """Compare a run, which may be the reference's own, with others of its suite."""
    chosen = compared_with(record.deployment, others, reference)
    if chosen is None:
        test = FailureTest.against(0.0)
        decision = test.decide(record.calls, record.bad)
        return Comparison(
            record, RunDecision.UNDECIDED if decision is RunDecision.FLAGGED else decision, test, "", None
        )
    test = FailureTest.against(upper_rate(chosen))
    decision = test.decide(record.calls, record.bad)
    return Comparison(record, decision, test, chosen.deployment, similarity(record.triggers, chosen.triggers))


def compared_with(deployment: str, others: Sequence[VerifierRecord], reference: str | None) -> VerifierRecord | None:
    """Return the run that a deployment's is compared with.

    None without one, and for the reference itself.
    """
    enough = [one for one in others if one.calls >= LEAST_COMPARED and one.deployment != deployment]
    if reference is not None and deployment == reference:
        return None
    named = [one for one in enough if one.deployment == reference]
    if named:
        return named[-1]
    ranked = sorted(enough, key=upper_rate)
    return ranked[1 if len(ranked) > _FEW else 0] if ranked else None


def upper_rate(record: VerifierRecord) -> float:
    """Return the upper end of the failure rate of a run."""
    return float(wilson_upper(np.array([float(record.bad)]), np.array([float(record.calls)]), _Z)[0])


def similarity(own: str, other: str) -> float | None:
    """Return the F1 of calling a tool where the other one does.

    Of the requests that both answered; None where neither calls a tool. K2 Vendor Verifier's definition.

    >>> similarity("1101-", "1011-")
    0.6666666666666666
    """
    pairs = list(zip(own, other, strict=False))
    both, either = pairs.count(("1", "1")), pairs.count(("1", "0")) + pairs.count(("0", "1"))
    return 2 * both / (2 * both + either) if both or either else None


def findings_of(records: Iterable[VerifierRecord], reference: str | None) -> dict[DeploymentKey, VerifierFinding]:
    """Return the findings of a model group for the rule of tiers."""
    return {
        DeploymentKey(one.record.deployment): VerifierFinding(
            one.record.run,
            one.record.started,
            one.record.at,
            one.record.calls,
            one.record.bad,
            one.test.limit,
            one.decision is RunDecision.FLAGGED,
            one.decision is RunDecision.CLEARED,
        )
        for one in comparisons(records, reference)
    }
