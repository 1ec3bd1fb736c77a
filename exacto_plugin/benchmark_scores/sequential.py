"""Sequential test on failures: a run ends as soon as they decide.

Wald's sequential probability ratio test between the rate of a good deployment and a rate that is worse by the margin.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

LEAST_GOOD = 0.01
"""Least rate that is good. A reference without a failure is no proof of a rate of 0."""

MARGIN = 0.05
"""Distance of a bad deployment's rate from a good one's. Source: the same as ``peer_cap`` of the adaptive rule."""

FALSE_FLAG = 0.001
"""Chance that a deployment as good as the comparison is flagged.
Source: the tails of the adaptive rule, 0.0001 to 0.00135."""

FALSE_CLEAR = 0.01
"""Chance that a deployment worse by the margin is cleared. Simulated: ``python -m benchmarks.verifier``."""

MOST_CALLS = 250
"""Calls after which a run ends undecided."""


class RunDecision(StrEnum):
    """Result of the calls so far."""

    FLAGGED = "flagged"
    CLEARED = "cleared"
    UNDECIDED = "undecided"


class FailureTest(NamedTuple):
    """Test of a failure rate against that of the comparison."""

    good: float
    """Rate of a good deployment."""

    @classmethod
    def against(cls, rate: float) -> FailureTest:
        """Return the test for the rate of the comparison, an upper end of it."""
        return cls(min(max(rate, LEAST_GOOD), 1 - 2 * MARGIN))

    @property
    def bad(self) -> float:
        """Rate of a bad deployment."""
        return self.good + MARGIN

    @property
    def limit(self) -> float:
        """Rate above which calls speak for a bad deployment; below it for a good one."""
        worked = math.log((1 - self.good) / (1 - self.bad))
        return worked / (worked + math.log(self.bad / self.good))

    def decide(self, calls: int, bad: int) -> RunDecision:
        """Decide by the calls so far.

        >>> FailureTest.against(0.0).decide(90, 0).value, FailureTest.against(0.0).decide(20, 5).value
        ('cleared', 'flagged')
        """
        ratio = bad * math.log(self.bad / self.good) + (calls - bad) * math.log((1 - self.bad) / (1 - self.good))
        if ratio >= -math.log(FALSE_FLAG):
            return RunDecision.FLAGGED
        return RunDecision.CLEARED if ratio <= math.log(FALSE_CLEAR) else RunDecision.UNDECIDED
