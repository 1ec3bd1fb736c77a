"""The true state of a scenario over time: rates, prices, present providers.

For several repetitions at once; arrays have the shape ``[repetition, provider]``. Repetitions differ in the prices that
are drawn, and therefore in the providers that an event's selector matches. Does not depend on any router.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.simulate.scenario import EventKind, Provider

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.simulate.scenario import Scenario, ScenarioEvent

BROKEN, FIXED = 0.25, 0.002
"""Error rates of a ``break`` and a ``fix`` that give none."""

PRICE_POWER = -2.0
"""Exponent of the price in the weights of the lottery by price.

OpenRouter documents the inverse square of the price."""


@dataclass(frozen=True, slots=True)
class EventEffect:
    """The effect of an event in one repetition."""

    kind: EventKind
    repetition: int
    place: int
    """Number of the provider."""
    at_h: float
    good: bool
    """True if the provider is near the best from then on."""


class GroundTruth:
    """The providers of a scenario at the present time; ``apply_event`` changes them."""

    def __init__(self, scenario: Scenario, seed: int, repetitions: int) -> None:
        newcomers = [event for event in scenario.events if event.kind is EventKind.NEWCOMER]
        late = [_newcomer(event) for event in newcomers if event.provider not in _names(scenario.providers)]
        providers = [*scenario.providers, *late]
        absent = {event.provider for event in newcomers}
        shape = (repetitions, len(providers))
        self.names = tuple(DeploymentKey(provider.name) for provider in providers)
        self.tolerance = scenario.tolerance
        self.error_rate = _column([p.error_rate for p in providers], shape)
        self.lost_rate = _column([p.lost_rate for p in providers], shape)
        self.propensity = _column([p.propensity for p in providers], shape)
        self.tokens_per_s = _column([p.tokens_per_s or np.nan for p in providers], shape)
        self.capacity_rpm = _column([p.capacity_rpm or np.inf for p in providers], shape)
        self.refuses_above_rpm = _column([p.refuses_above_rpm or np.inf for p in providers], shape)
        self.present = np.broadcast_to([name not in absent for name in self.names], shape).copy()
        self._mix = np.array(scenario.complexity.shares)
        self.error_factors = np.array([p.error_factors or scenario.complexity.error_factors for p in providers])
        """Factors on the rates, ``[provider, bucket of complexity]``."""
        self.price = self._prices(scenario, providers, seed)
        self.good_since_h = np.where(self.is_good(), -np.inf, np.inf)
        """Hour since which a provider is near the best; infinite while it is not.

        Used to count false deranks."""

    def failure_rate(self) -> NDArray[np.float64]:
        """Return the share of tool calls that fail, over the mix of complexity."""
        error, lost = self.by_bucket(self.error_rate), self.by_bucket(self.lost_rate)
        return np.asarray((lost + (1.0 - lost) * error) @ self._mix)

    def by_bucket(self, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rates by complexity, ``[repetition, provider, bucket]``."""
        return np.asarray(np.minimum(1.0, rate[..., np.newaxis] * self.error_factors))

    def weight(self) -> NDArray[np.float64]:
        """Return weights in the lottery by price; 0 for absent providers."""
        return np.where(self.present, self.price**PRICE_POWER, 0.0)

    def is_good(self) -> NDArray[np.bool_]:
        """Return which providers are within the tolerance of the best one present."""
        failure = self.failure_rate()
        best = np.where(self.present, failure, np.inf).min(axis=1, keepdims=True)
        return np.asarray(self.present & (failure <= best + self.tolerance + 1e-12))

    def default_shares(self) -> NDArray[np.float64]:
        """Return the pick shares of the lottery by price among all."""
        return _normalised(self.weight())

    def oracle_shares(self) -> NDArray[np.float64]:
        """Return the pick shares of the same lottery among the good ones."""
        return _normalised(self.weight() * self.is_good())

    def apply_event(self, event: ScenarioEvent) -> list[EventEffect]:
        """Apply one event in every repetition."""
        rows = np.arange(len(self.price))
        places = self._places(event.provider)
        at = (rows, places)
        if event.kind in (EventKind.LEAVE, EventKind.NEWCOMER):
            self.present[at] = event.kind is EventKind.NEWCOMER
        rate = event.error_rate
        if rate is None:
            rate = {EventKind.BREAK: BROKEN, EventKind.FIX: FIXED}.get(event.kind)
        new = (
            (self.error_rate, rate),
            (self.lost_rate, event.lost_rate),
            (self.propensity, event.propensity),
            (self.tokens_per_s, event.tokens_per_s),
            (self.price, event.price),
        )
        for column, value in new:
            if value is not None:
                column[at] = value
        self.price[at] *= event.price_factor or 1.0
        was, good = self.good_since_h < np.inf, self.is_good()
        self.good_since_h = np.where(good, np.where(was, self.good_since_h, event.at_h), np.inf)
        return [
            EventEffect(event.kind, int(row), int(place), event.at_h, bool(good[row, place]))
            for row, place in zip(*at, strict=True)
        ]

    def _places(self, provider: str) -> NDArray[np.int64]:
        if not provider.startswith("@"):
            return np.full(len(self.price), self.names.index(provider))
        good = self.is_good()
        if provider == "@worst":
            return np.asarray(np.where(self.present, self.failure_rate(), -1.0).argmax(axis=1))
        wanted = self.present & ~good if provider == "@cheapest_bad" else good
        if provider == "@dearest_good":
            return np.asarray(np.where(wanted, self.price, -1.0).argmax(axis=1))
        return np.asarray(np.where(wanted, self.price, np.inf).argmin(axis=1))

    def _prices(self, scenario: Scenario, providers: Sequence[Provider], seed: int) -> NDArray[np.float64]:
        """Return given prices unchanged, the others drawn from a lognormal distribution.

        With rho, they are coupled to the rank in quality. One draw serves as many repetitions as there are providers,
        rotated by one provider each time: each provider is the cheapest once, so that a mean over repetitions depends
        less on the draw.
        """
        failure = self.failure_rate()[0]
        rank = failure.argsort(kind="stable").argsort(kind="stable").astype(np.float64)
        # Bad ones first, in units of the ranks' own standard deviation.
        goodness = (rank.mean() - rank) / (rank.std() or 1.0)
        sigma, rho = scenario.prices.sigma, scenario.prices.rho
        count = len(providers)
        chance = np.stack(
            [
                np.roll(np.random.default_rng([seed, number // count, 1]).standard_normal(count), number)
                for number in range(len(self.present))
            ]
        )
        drawn = np.exp(sigma * (rho * goodness + np.sqrt(1.0 - rho**2) * chance))
        given = np.array([p.price if p.price is not None else np.nan for p in providers])
        return np.where(np.isnan(given), drawn, given)


def _newcomer(event: ScenarioEvent) -> Provider:
    """Return the provider that a newcomer's event describes."""
    figures = ("error_rate", "lost_rate", "propensity", "tokens_per_s", "price")
    given = {figure: value for figure in figures if (value := getattr(event, figure)) is not None}
    return Provider(name=event.provider, **given)


def _names(providers: Sequence[Provider]) -> set[str]:
    return {provider.name for provider in providers}


def _column(values: Sequence[float], shape: tuple[int, int]) -> NDArray[np.float64]:
    return np.broadcast_to(np.array(values, np.float64), shape).copy()


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0))
