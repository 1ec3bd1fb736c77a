"""The requests of one time step and their answers, for all repetitions at once.

One row per request, drawn one by one: caller, complexity, provider, outcome of the tool call. The random numbers of a
step depend on seed and step alone, so that presets get the same requests (paired seeds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.windows.increments import caller_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.simulate.probing import Probing
    from exacto_plugin.simulate.scenario import Scenario
    from exacto_plugin.simulate.world import GroundTruth

HOSTILE = "hostile"
"""Name of the hostile caller."""

PEAK_H = 14.0

Chance = np.random.Generator


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of a step, one entry each."""

    repetition: NDArray[np.int64]
    session: NDArray[np.int64]
    """Requests of one number have a common fate and deployment."""
    caller: NDArray[np.int64]
    """Number of the key; the last one is the hostile caller."""
    complexity: NDArray[np.int64]
    hostile: NDArray[np.bool_]
    pinned: NDArray[np.bool_]
    pin: NDArray[np.int64]
    """Provider of a pinned request.

    -1: the router chooses, -2: an even draw among those present."""
    pick: NDArray[np.float64]
    """Uniform draw that the lottery uses; equal within a session."""

    def where(self, mask: NDArray[np.bool_]) -> Requests:
        """Return the requests at a mask."""
        return Requests(*(getattr(self, field.name)[mask] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a step."""

    requests: Requests
    place: NDArray[np.int64]
    """Provider that answered."""
    probe: NDArray[np.bool_]
    attempted: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    """Evaluated and found bad."""
    speed: NDArray[np.float64]
    """Tokens per second; NaN for answers that are too short."""
    streamed: NDArray[np.bool_]

    def where(self, mask: NDArray[np.bool_]) -> Answers:
        """Return the answers at a mask."""
        rest = (getattr(self, field.name)[mask] for field in fields(self)[1:])
        return Answers(self.requests.where(mask), *rest)

    def refused(self, most: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which requests exceed a limit, ``[repetition, provider]``."""
        rows = self.requests.repetition * most.shape[1] + self.place
        order = np.lexsort((self.requests.pick, rows))
        first = np.searchsorted(rows[order], rows)
        rank = np.empty(len(rows))
        rank[order] = np.arange(len(rows))
        return np.asarray(rank - first >= most.ravel()[rows])


class TrafficGenerator:
    """A generator of a scenario's requests."""

    def __init__(self, scenario: Scenario, names: tuple[str, ...]) -> None:
        self._scenario = scenario
        self._names = names
        self.callers = (*(f"caller-{number}" for number in range(scenario.callers)), HOSTILE)
        self.caller_numbers = np.array([caller_number(name) for name in self.callers])

    def rate_per_s(self, hour: float) -> float:
        """Return the requests per second at an hour since midnight of the first day."""
        swing = self._scenario.day_night * math.cos((hour - PEAK_H) * math.tau / 24.0)
        return self._scenario.requests_per_minute / 60.0 * (1.0 + swing)

    def requests(self, chance: Chance, repetitions: int, hour: float, step_s: float) -> Requests:
        """Draw the requests of one step."""
        scenario = self._scenario
        length = scenario.session_requests
        arrivals = chance.poisson(self.rate_per_s(hour) * step_s / length, repetitions)
        sessions = int(arrivals.sum())
        repetition = np.repeat(np.arange(repetitions), arrivals)
        kind = chance.random(sessions)
        hostile = kind < scenario.hostile.share
        pinned = ~hostile & (kind < scenario.hostile.share + scenario.pinned.share)
        caller = np.where(hostile, scenario.callers, chance.integers(0, scenario.callers, sessions))
        complexity = np.searchsorted(np.cumsum(scenario.complexity.shares), chance.random(sessions), "right").clip(0, 3)
        if scenario.pinned.complexity is not None:
            complexity[pinned] = scenario.pinned.complexity
        pin = np.where(pinned, self._pin(scenario.pinned.provider), -1)
        if scenario.hostile.provider is not None:
            pin[hostile] = self._pin(scenario.hostile.provider)
            pinned = pinned | hostile
        columns = (repetition, np.arange(sessions), caller, complexity, hostile, pinned, pin, chance.random(sessions))
        return Requests(*(np.repeat(column, length) for column in columns))

    def answers(
        self, chance: Chance, requests: Requests, world: GroundTruth, shares: NDArray[np.float64], probing: Probing
    ) -> Answers:
        """Draw the answers of requests.

        Args:
            chance: source of the draws.
            requests: of one step.
            world: the present state of the providers.
            shares: probability of the router's picks without probes, shape ``[repetition, provider]``.
            probing: selects the requests that are probes.
        """
        count = len(requests.repetition)
        draws = chance.random((5, count))
        speeds = chance.standard_normal(count)
        place = _places(requests, world, shares)
        wanted = np.where(requests.pinned, -1, probing.wanted(requests.repetition, draws[0]))
        trial = self._outcomes(draws, requests, world, np.where(wanted >= 0, wanted, place), None)
        probe = probing.granted(requests.repetition, wanted, trial[1] | trial[2])
        place = np.where(probe, wanted, place)
        attempted, lost, bad = self._outcomes(draws, requests, world, place, chance)
        speed = world.tokens_per_s[requests.repetition, place] * np.exp(self._scenario.speed_sigma * speeds)
        return Answers(requests, place, probe, attempted, lost, bad, speed, draws[4] < self._scenario.streamed_share)

    def _outcomes(
        self,
        draws: NDArray[np.float64],
        requests: Requests,
        world: GroundTruth,
        place: NDArray[np.int64],
        chance: Chance | None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return attempted, lost and bad.

        Without ``chance`` each request has a fate of its own, independent of its session.
        """
        at = (requests.repetition, place)
        factor = world.error_factors[place, requests.complexity]
        error = np.minimum(1.0, world.error_rate[at] * factor)
        error = np.where(requests.hostile, self._scenario.hostile.error_rate, error)
        if chance is not None:
            error = self._fate(chance, requests, place, error)
        lost_rate = np.where(requests.hostile, 0.0, np.minimum(1.0, world.lost_rate[at] * factor))
        attempted = draws[1] < world.propensity[at]
        lost = attempted & (draws[2] < lost_rate)
        return attempted, lost, attempted & ~lost & (draws[3] < error)

    def _pin(self, provider: str | None) -> int:
        return -2 if provider is None else self._names.index(provider)

    def _fate(
        self, chance: Chance, requests: Requests, place: NDArray[np.int64], error: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return error rates with a common fate in each session: a beta-binomial.

        With the scenario's correlation. A probe leaves its session: it goes to another deployment.
        """
        icc = self._scenario.icc
        if icc == 0.0 or self._scenario.session_requests == 1 or not len(error):
            return error
        providers = int(place.max()) + 1
        first = np.flatnonzero(np.diff(requests.session * providers + place, prepend=-1))
        rate = error[first]
        if icc == 1.0:
            drawn = (chance.random(len(first)) < rate).astype(np.float64)
        else:
            inside = rate.clip(1e-9, 1.0 - 1e-9) * (1.0 - icc) / icc
            drawn = chance.beta(inside, (1.0 - icc) / icc - inside)
        return np.repeat(np.where((rate > 0.0) & (rate < 1.0), drawn, rate), np.diff(first, append=len(error)))


def _places(requests: Requests, world: GroundTruth, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the provider of each request without probes."""
    place = _drawn(requests, shares)
    if not requests.pinned.any():
        return place
    even = _drawn(requests, world.present / world.present.sum(axis=1, keepdims=True))
    named = np.where(requests.pin >= 0, requests.pin, even)
    # An absent provider cannot be pinned: its callers are spread like the rest.
    named = np.where(world.present[requests.repetition, named], named, even)
    return np.where(requests.pinned, named, place)


def _drawn(requests: Requests, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Draw one column per request from the probabilities of its repetition's row."""
    cumulated = np.cumsum(shares, axis=1)
    # A row of zeros has no requests.
    cumulated /= np.where(cumulated[:, -1:] > 0.0, cumulated[:, -1:], 1.0)
    ladder = (cumulated + np.arange(len(shares))[:, np.newaxis]).ravel()
    found = np.searchsorted(ladder, requests.pick * (1.0 - 1e-12) + requests.repetition, "right")
    return np.asarray(found - requests.repetition * shares.shape[1]).clip(0, shares.shape[1] - 1)
