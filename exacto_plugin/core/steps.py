"""Steps: the strictness of a threshold, and the effect of the next one."""

from __future__ import annotations

from dataclasses import dataclass

from exacto_plugin.core.wire import wire


@wire("step cost saves")
@dataclass(frozen=True, slots=True)
class NextStep:
    """The next stricter step."""

    step: float
    """Distance above the second-best peer (the best of up to 3), as a failure rate."""
    cost: float
    """Rise of the mean price, relative to that at the step chosen."""
    saves: float
    """Fall of the rate of bad calls."""


@wire("step convicts_above acquits_below next_step by_price")
@dataclass(frozen=True, slots=True)
class StepChoice:
    """The step chosen for a model group, and the thresholds of one deployment.

    Failure rates, 0 to 1.
    """

    step: float
    convicts_above: float
    """The rate above which calls derank."""
    acquits_below: float
    """The rate below which calls verify or, once deranked, readmit."""
    next_step: NextStep
    by_price: bool = False
    """Deranked only because bad calls have a price."""
