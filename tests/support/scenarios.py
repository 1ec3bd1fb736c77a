"""Small scenarios that the tests of the simulator share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.simulate.presets import preset_named
from exacto_plugin.simulate.run import RunConfig, run_together
from exacto_plugin.simulate.scenario import Scenario, parse_scenario

if TYPE_CHECKING:
    from exacto_plugin.simulate.trace import Trace


def scenario(**changes: Any) -> Scenario:
    """Two good providers and a bad one, priced alike, for two hours."""
    content: dict[str, Any] = {
        "hours": 2.0,
        "requests_per_minute": 60.0,
        "providers": [
            {"name": "good", "error_rate": 0.01, "price": 1.0},
            {"name": "fair", "error_rate": 0.02, "price": 1.0},
            {"name": "bad", "error_rate": 0.4, "price": 1.0},
        ],
    }
    return parse_scenario({**content, **changes}, "test")


def traced(of: Scenario, preset: str = "none", *, seed: int = 0, repetitions: int = 2, step_s: float = 60.0) -> Trace:
    """One preset's trace."""
    (trace,) = run_together([of], preset_named(preset), RunConfig(seed, repetitions, step_s))
    return trace
