"""The trace of a simulation, summed by the hour: picks, costs, changes of tiers.

Bad calls are expected values, picks times true rates: the effect of a router without the noise of the draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.simulate.traffic import Answers, Requests
    from exacto_plugin.simulate.world import EventEffect, GroundTruth

TIER_NOW = ("verified_good", "insufficient_data", "deranked", "absent")


@dataclass(frozen=True, slots=True)
class Change:
    """A deployment's change of tier in one repetition."""

    repetition: int
    place: int
    at_h: float
    previous: str
    tier: str
    good_for_h: float
    """Hours that it has truly been near the best.

    Infinite: from the start; negative: it is not."""


@dataclass
class Trace:
    """Sums by hour, of one preset.

    Arrays have the shape ``[hour, repetition]`` and a third axis for providers.
    """

    names: tuple[str, ...]
    hours: int
    repetitions: int
    picks: NDArray[np.float64] = field(init=False)
    """Requests that the router sent to each provider.

    Pinned ones and the hostile caller's are left out everywhere."""
    calls: NDArray[np.float64] = field(init=False)
    """Tool calls that these attempted (expected)."""
    bad: NDArray[np.float64] = field(init=False)
    """Of them, failed ones (expected)."""
    spend: NDArray[np.float64] = field(init=False)
    """Sum of the prices of the picks."""
    probes: NDArray[np.float64] = field(init=False)
    unserved: NDArray[np.float64] = field(init=False)
    """Requests that found every provider full, or that a provider refused."""
    default: NDArray[np.float64] = field(init=False)
    """Calls, bad calls and spend for a lottery by price among all.

    Shape ``[3, hour, repetition]``."""
    oracle: NDArray[np.float64] = field(init=False)
    """The same with the good ones known."""
    tiers: NDArray[np.int8] = field(init=False)
    """Tier at the end of each hour, index into ``TIER_NOW``."""
    changes: list[Change] = field(default_factory=list)
    happenings: list[EventEffect] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Allocate the arrays."""
        flat, deep = (self.hours, self.repetitions), (self.hours, self.repetitions, len(self.names))
        self.picks = np.zeros(deep)
        self.calls, self.bad, self.spend, self.probes, self.unserved = (np.zeros(flat) for _ in range(5))
        self.default, self.oracle = np.zeros((3, *flat)), np.zeros((3, *flat))
        self.tiers = np.full(deep, TIER_NOW.index("insufficient_data"), np.int8)

    def count(self, answers: Answers, world: GroundTruth, hour: float) -> None:
        """Add the answers of one step."""
        ours = ~(answers.requests.pinned | answers.requests.hostile)
        shape = world.present.shape
        rows = answers.requests.repetition[ours] * shape[1] + answers.place[ours]
        picks = np.bincount(rows, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
        probes = np.bincount(answers.requests.repetition[ours & answers.probe], minlength=shape[0])
        self.add(picks, probes.astype(np.float64), world, hour)

    def add(self, picks: NDArray[np.float64], probes: NDArray[np.float64], world: GroundTruth, hour: float) -> None:
        """Add picks and probes under one state of the world.

        Args:
            picks: probes included, ``[repetition, provider]``.
            probes: the probes among them, ``[repetition]``.
            world: the state in which they were picked.
            hour: of the picks.
        """
        at = min(self.hours - 1, math.floor(hour))
        failure = world.failure_rate()
        self.picks[at] += picks
        for total, column in zip((self.calls, self.bad, self.spend), _figures(picks, world, failure), strict=True):
            total[at] += column
        requests = picks.sum(axis=1, keepdims=True)
        self.default[:, at] += _figures(requests * world.default_shares(), world, failure)
        self.oracle[:, at] += _figures(requests * world.oracle_shares(), world, failure)
        self.probes[at] += probes

    def attend(self, present: NDArray[np.bool_], hour: float) -> None:
        """Note the present deployments from an hour on."""
        at = min(self.hours - 1, math.floor(hour))
        absent, unknown = TIER_NOW.index("absent"), TIER_NOW.index("insufficient_data")
        back = present & (self.tiers[at] == absent)
        self.tiers[at:, back] = unknown
        self.tiers[at:, ~present] = absent

    def miss(self, requests: Requests, hour: float) -> None:
        """Add requests that found every provider full, or that a provider refused."""
        ours = ~(requests.pinned | requests.hostile)
        at = min(self.hours - 1, math.floor(hour))
        self.unserved[at] += np.bincount(requests.repetition[ours], minlength=self.repetitions)


def _figures(picks: NDArray[np.float64], world: GroundTruth, failure: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return expected calls, bad calls and spend of some picks, per repetition."""
    calls = picks * world.propensity
    return np.stack([calls.sum(axis=1), (calls * failure).sum(axis=1), (picks * world.price).sum(axis=1)])
