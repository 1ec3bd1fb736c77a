"""What the same money buys when the true rates are known: bounds for a router, from a linear program.

``LP50`` is the least share of bad calls at a mean price of at most B times the default's, where no host has more than
half of the requests. ``pool`` is the lottery by price among the k best hosts, which is what tiers can express. ``J`` is
cost plus 30 times the share of bad calls, cost relative to the default: one number for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import linprog, minimize_scalar

from exacto_plugin.simulate.world import GroundTruth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.simulate.scenario import Scenario

    Floats = NDArray[np.float64]

BAD_CALL_PRICE = 30.0
"""Requests that a bad call costs as much as, in ``J``."""

MOST_SHARE = 0.5
"""Largest share of one host in ``LP50``."""


class Point(NamedTuple):
    """A router's share of bad calls and its cost, relative to the default's."""

    bad: float
    cost: float

    @property
    def total(self) -> float:
        """Return ``J``."""
        return self.cost + BAD_CALL_PRICE * self.bad


@dataclass(frozen=True)
class Hosts:
    """The hosts of a model group between two events; only those that serve."""

    bad: Floats
    """True share of bad calls."""
    propensity: Floats
    price: Floats
    weight: Floats
    """In the default's lottery."""
    duration_h: float

    def point(self, shares: Floats) -> Point:
        """Return bad calls and cost of some pick shares."""
        calls = shares * self.propensity
        return Point(float(calls @ self.bad / calls.sum()), float(shares @ self.price / self._usual()))

    def lp50(self, budget: float) -> Point:
        """Return the least share of bad calls at a cost of at most ``budget``.

        The share is a ratio, bad calls by calls, so the program is in shares per call (Charnes and Cooper): they are
        ``z``, their sum is ``t``, and the pick shares are ``z / t``. Below the cheapest possible cost, that one.
        """
        cheapest = np.sort(self.price)[:2].mean() if len(self.price) > 1 else self.price[0]
        limit = max(budget * self._usual(), float(cheapest)) * (1.0 + 1e-9)
        hosts = len(self.price)
        most = max(MOST_SHARE, 1.0 / hosts)
        rows = np.vstack([np.append(self.price, -limit), np.column_stack([np.eye(hosts), np.full(hosts, -most)])])
        equal = np.vstack([np.append(self.propensity, 0.0), np.append(np.ones(hosts), -1.0)])
        found = linprog(
            np.append(self.propensity * self.bad, 0.0), A_ub=rows, b_ub=np.zeros(len(rows)), A_eq=equal, b_eq=[1.0, 0.0]
        )
        if not found.success:
            raise ValueError(f"no shares within a cost of {budget}: {found.message}")
        return self.point(found.x[:-1] / found.x[-1])

    def least_total(self) -> float:
        """Return ``J*``, the least ``J`` on ``LP50``."""
        costs = self.price / self._usual()
        bounds = (float(np.sort(costs)[:2].mean()), max(float(np.sort(costs)[-2:].mean()), 1.0))
        found = minimize_scalar(
            lambda budget: self.lp50(budget).total, bounds=bounds, method="bounded", options={"xatol": 0.005}
        )
        return min(float(found.fun), *(self.lp50(budget).total for budget in bounds))

    def pool(self) -> Point:
        """Return the lottery by price among the k best hosts with the least ``J``."""
        order = np.argsort(self.bad, kind="stable")
        points = []
        for count in range(1, len(order) + 1):
            weight = np.zeros(len(order))
            weight[order[:count]] = self.weight[order[:count]]
            points.append(self.point(weight / weight.sum()))
        return min(points, key=lambda point: point.total)

    def _usual(self) -> float:
        return float(self.weight @ self.price / self.weight.sum())


class Frontier:
    """The bounds of one draw of prices over the measured hours of a scenario.

    Where the state changes, a bound knows each state; figures are means over the time.
    """

    def __init__(self, states: Sequence[Hosts]) -> None:
        self._states = states
        self._parts = np.array([state.duration_h for state in states])
        self._parts /= self._parts.sum()
        self.least_total = float(self._parts @ [state.least_total() for state in states])
        """``J*``."""
        pools = [state.pool() for state in states]
        self.pool = Point(*(float(self._parts @ [pool[place] for pool in pools]) for place in range(2)))
        """The best pool."""

    def lp50(self, budget: float) -> float:
        """Return the least share of bad calls at a cost of at most ``budget``."""
        return float(self._parts @ [state.lp50(budget).bad for state in self._states])


def frontiers(scenario: Scenario, seed: int, repetitions: int) -> list[Frontier]:
    """Return the frontier of every repetition."""
    world = GroundTruth(scenario, seed, repetitions)
    states: list[dict[bytes, Hosts]] = [{} for _ in range(repetitions)]
    waiting = [event for event in scenario.timeline() if event.at_h < scenario.hours]
    began_h = scenario.measure_from_h
    while True:
        while waiting and waiting[0].at_h <= began_h:
            world.apply_event(waiting.pop(0))
        if began_h >= scenario.hours:
            return [Frontier(list(known.values())) for known in states]
        until_h = waiting[0].at_h if waiting else scenario.hours
        for number, known in enumerate(states):
            _note(known, world, number, until_h - began_h)
        began_h = until_h


def _note(known: dict[bytes, Hosts], world: GroundTruth, number: int, duration_h: float) -> None:
    """Add the present state of a repetition to its states, equal ones together."""
    there = world.present[number]
    columns = (world.failure_rate(), world.propensity, world.price, world.weight())
    bad, propensity, price, weight = (column[number, there] for column in columns)
    key = np.concatenate([there.astype(float), bad, propensity, price, weight]).tobytes()
    before = known[key].duration_h if key in known else 0.0
    known[key] = Hosts(bad, propensity, price, weight, before + duration_h)
