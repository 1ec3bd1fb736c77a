"""The requests and answers of one recompute interval, drawn as counts.

Numbers of picks, calls and failures of all model groups are drawn at once from their distributions (binomial; sessions
with a common fate one by one, beta-binomial) instead of request by request. Arrays are ``[group, provider]``, padded to
the widest group, and have a last axis for the buckets of complexity where rates depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import DeploymentKey, Outcome, Sample
from exacto_plugin.core.windows.increments import increments_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.simulate.scenario import Scenario
    from exacto_plugin.simulate.world import GroundTruth

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

_ICC_RANGE = (1e-9, 0.999)
"""Range of the correlation for which a beta distribution is drawn."""


@dataclass(frozen=True, slots=True)
class FleetRates:
    """The true state of all groups side by side; padding has the weight 0."""

    weight: Floats
    """In the lottery by price; 0 for absent providers."""
    price: Floats
    """Of a request; 0 in the padding."""
    propensity: Floats
    lost: Floats
    """Shape ``[group, provider, bucket]``, as is ``error``."""
    error: Floats
    mix: Floats
    """Share of the requests by bucket, ``[group, bucket]``."""
    length: Integers
    """Requests of a session, by group."""
    icc: Floats
    callers: Integers

    @classmethod
    def of(cls, parts: Sequence[tuple[Scenario, GroundTruth]]) -> FleetRates:
        """Join the present state of several scenarios."""
        width = max(world.present.shape[1] for _, world in parts)
        used = [np.flatnonzero(scenario.complexity.shares).max() for scenario, _ in parts]
        buckets = int(max(used)) + 1

        def padded(rates: Floats) -> Floats:
            return np.pad(rates, ((0, 0), (0, width - rates.shape[1]), *((0, 0),) * (rates.ndim - 2)))

        def by_group(values: Sequence[float]) -> Floats:
            return np.concatenate(
                [np.full(len(world.present), value) for value, (_, world) in zip(values, parts, strict=True)]
            )

        mixes = [np.tile(scenario.complexity.shares[:buckets], (len(world.present), 1)) for scenario, world in parts]
        return cls(
            np.concatenate([padded(world.weight()) for _, world in parts]),
            np.concatenate([padded(world.price) for _, world in parts]),
            np.concatenate([padded(world.propensity) for _, world in parts]),
            np.concatenate([padded(world.by_bucket(world.lost_rate)[..., :buckets]) for _, world in parts]),
            np.concatenate([padded(world.by_bucket(world.error_rate)[..., :buckets]) for _, world in parts]),
            np.concatenate(mixes),
            by_group([scenario.session_requests for scenario, _ in parts]).astype(np.int64),
            by_group([scenario.icc for scenario, _ in parts]),
            by_group([scenario.callers for scenario, _ in parts]).astype(np.int64),
        )


class Calls(NamedTuple):
    """Attempted tool calls, one entry each."""

    row: Integers
    """``group * providers + provider``."""
    caller: Integers
    bucket: Integers
    lost: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    """Evaluated and found bad."""

    def where(self, mask: NDArray[np.bool_]) -> Calls:
        """Return the calls at a mask."""
        return Calls(self.row[mask], self.caller[mask], self.bucket[mask], self.lost[mask], self.bad[mask])


def joined(parts: Sequence[Calls]) -> Calls:
    """Join lists of calls."""
    return Calls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class CellTable:
    """The histogram cells of a call by caller, bucket and fault.

    They come from ``increments_of``.
    """

    def __init__(self, callers: int, buckets: int) -> None:
        cells = [
            [[_cells(caller, bucket, faulty) for faulty in (False, True)] for bucket in range(buckets)]
            for caller in range(callers)
        ]
        self.numbers, places = np.unique(np.array(cells, np.int64), return_inverse=True)
        """Cells ``kind * BINS + bin`` of all possible calls, ascending."""
        self._places = places.reshape(callers, buckets, 2, -1)

    def count(self, calls: Calls, rows: int) -> Integers:
        """Count the cells of some calls, ``[cell, row]``."""
        faulty = (calls.lost | calls.bad).astype(np.intp)
        keys = self._places[calls.caller, calls.bucket, faulty] * rows + calls.row[:, np.newaxis]
        return np.bincount(keys.ravel(), minlength=len(self.numbers) * rows).reshape(-1, rows)


def _cells(caller: int, bucket: int, faulty: bool) -> Sequence[int]:
    outcome = Outcome.SCHEMA_MISMATCH if faulty else Outcome.VALID
    sample = Sample(
        "", DeploymentKey(""), 0.0, tools_offered=True, outcome=outcome, caller=f"caller-{caller}", complexity=bucket
    )
    return increments_of(sample, 1).cells


def draw_requests(chance: np.random.Generator, fleet: FleetRates, expected: Floats) -> Integers:
    """Draw the requests of an interval by group; they arrive in whole sessions."""
    return chance.poisson(expected / fleet.length) * fleet.length


def draw_places(
    chance: np.random.Generator, fleet: FleetRates, requests: Integers, shares: Floats, probes: Integers
) -> tuple[Integers, Calls]:
    """Draw the picks of an interval without probes, and the calls that they attempt.

    Args:
        chance: source of the draws.
        fleet: the state of the groups.
        requests: by group, probes included.
        shares: the router's pick shares; they add up to 1 where a group has requests.
        probes: requests of each group that were probes; they are taken from random sessions.
    """
    picks = np.zeros(shares.shape, np.int64)
    parts = []
    alone = np.flatnonzero(fleet.length == 1)
    if len(alone):
        picks[alone] = chance.multinomial(requests[alone] - probes[alone], shares[alone])
        parts.append(_separate_calls(chance, fleet, alone, picks[alone]))
    together = np.flatnonzero(fleet.length > 1)
    if len(together):
        places = chance.multinomial(requests[together] // fleet.length[together], shares[together])
        picks[together], calls = _session_calls(chance, fleet, together, places, probes[together])
        parts.append(calls)
    return picks, joined(parts)


def _separate_calls(chance: np.random.Generator, fleet: FleetRates, groups: Integers, picks: Integers) -> Calls:
    """Draw the calls of requests that are independent of each other."""
    buckets = fleet.mix.shape[1]
    asked = picks[..., np.newaxis]
    if buckets > 1:
        asked = chance.multinomial(picks, fleet.mix[groups, np.newaxis])
    attempted = chance.binomial(asked, fleet.propensity[groups, :, np.newaxis])
    lost = chance.binomial(attempted, fleet.lost[groups]) if fleet.lost.any() else np.zeros_like(attempted)
    bad = chance.binomial(attempted - lost, fleet.error[groups])
    numbers = np.stack([attempted - lost - bad, lost, bad], axis=-1)
    group, place, bucket, fate = np.unravel_index(np.repeat(np.arange(numbers.size), numbers.ravel()), numbers.shape)
    group = groups[group]
    caller = (chance.random(len(group)) * fleet.callers[group]).astype(np.int64)
    return Calls(group * picks.shape[1] + place, caller, bucket, fate == 1, fate == 2)


def _session_calls(
    chance: np.random.Generator, fleet: FleetRates, groups: Integers, sessions: Integers, probes: Integers
) -> tuple[Integers, Calls]:
    """Draw the picks and calls of sessions.

    Each has one provider, caller, bucket and fate.
    """
    width = sessions.shape[1]
    at, place = np.divmod(np.repeat(np.arange(sessions.size), sessions.ravel()), width)
    group, count = groups[at], sessions.sum(axis=1)
    size = fleet.length[group]
    # A probe leaves its session, since it goes to another provider.
    leaving = np.repeat(np.arange(len(groups)), np.where(count > 0, probes, 0))
    first = np.cumsum(count) - count
    np.subtract.at(size, first[leaving] + (chance.random(len(leaving)) * count[leaving]).astype(np.int64), 1)
    size = size.clip(0)
    bucket = (chance.random(len(group))[:, np.newaxis] >= np.cumsum(fleet.mix, axis=1)[group, :-1]).sum(axis=1)
    rate, icc = fleet.error[group, place, bucket], fleet.icc[group]
    within = icc.clip(*_ICC_RANGE)
    inside = rate.clip(1e-9, 1.0 - 1e-9) * (1.0 - within) / within
    common = chance.beta(inside, (1.0 - within) / within - inside)
    rate = np.where((icc > 0.0) & (rate > 0.0) & (rate < 1.0), common, rate)
    attempted = chance.binomial(size, fleet.propensity[group, place])
    lost = chance.binomial(attempted, fleet.lost[group, place, bucket])
    bad = chance.binomial(attempted - lost, rate)
    caller = (chance.random(len(group)) * fleet.callers[group]).astype(np.int64)
    numbers = np.stack([attempted - lost - bad, lost, bad], axis=-1)
    unit, fate = np.divmod(np.repeat(np.arange(numbers.size), numbers.ravel()), 3)
    picks = np.zeros(sessions.shape, np.int64)
    np.add.at(picks, (at, place), size)
    row = group * width + place
    return picks, Calls(row[unit], caller[unit], bucket[unit], fate == 1, fate == 2)
