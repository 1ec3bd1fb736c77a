"""Counts of what tiers change: whom requests could have gone to, whom tiers left, and what answers were worth.

Exact counts by the hour, not samples: a request adds one to the number of its kind, that is, of its candidates and its
pool; what that comes to per deployment is worked out when the counts are read. Who is picked inside a pool is the
operator's strategy's business: it is assumed to go by the declared weights. Must not know clocks or stores.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Mapping

HOUR_S = 3600.0

_KINDS = 2048
"""Kinds of requests that are told apart before they are added up; merged tiers draw a new pool for each request."""

WHOLE_GROUP = ""
"""In place of a deployment: what is counted of the model group."""


@wire(
    "picks changed applied stays with_tiers without_tiers probes instead answers bad priced cost cost_squares "
    "rescues rescued rescue_cost"
)
@dataclass(slots=True)
class PickNumbers:
    """The numbers of one deployment, or of a model group, in one hour. Requests are first attempts that tiers order."""

    picks: float = 0.0
    """Of the group: requests that were not bound to a deployment by their conversation."""
    changed: float = 0.0
    """Of the group: those of them that tiers sent (or in ``observe`` would have sent) elsewhere, as expected values."""
    applied: float = 0.0
    """Of the group: those of the picks to which tiers were applied; the rest was only observed."""
    stays: float = 0.0
    """Of the group: requests that went where their conversation is."""
    with_tiers: float = 0.0
    """Picks that the deployment gets with tiers, probes included, as an expected value."""
    without_tiers: float = 0.0
    """Picks that it would get without."""
    probes: float = 0.0
    """Picks that were probes of it."""
    instead: float = 0.0
    """Picks that it would have had of the group's probes, had there been none."""
    answers: float = 0.0
    """Finished answers to requests with tools."""
    bad: float = 0.0
    """Of those, the ones with a bad or lost call, as tiers count it."""
    priced: float = 0.0
    """Of those, the ones with a known price."""
    cost: float = 0.0
    """USD of the priced ones."""
    cost_squares: float = 0.0
    """Sum of the squares, from which follows how much they vary."""
    rescues: float = 0.0
    """Of the group: bad answers for which another deployment was asked."""
    rescued: float = 0.0
    """Of the group: those that were replaced by a good one."""
    rescue_cost: float = 0.0
    """Of the group: USD of answers that nobody got."""

    def add(self, other: PickNumbers) -> None:
        """Add another hour's or another worker's."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class HourCount(NamedTuple):
    """One row: what was counted so far in an hour by this process."""

    hour: float
    """Its begin, UTC seconds."""
    model_group: str
    deployment: str
    """``WHOLE_GROUP`` for what is counted of the group."""
    numbers: PickNumbers


class _PickClass(NamedTuple):
    """Requests of one hour that had the same choice."""

    hour: float
    model_group: str
    everyone: tuple[str, ...]
    preferred: tuple[str, ...]
    probed: str
    applied: bool


class CounterfactualCounts:
    """What one process counted. May be used from any thread."""

    def __init__(self) -> None:
        self.weights: Mapping[str, Mapping[str, float]] = {}
        """Declared weights by model group and deployment; who is missing has 1. Replaced, never changed in place."""
        self._lock = threading.Lock()
        self._kinds: dict[_PickClass, int] = {}
        self._rows: dict[tuple[float, str, str], PickNumbers] = defaultdict(PickNumbers)
        self._touched: set[tuple[float, str, str]] = set()

    def add_pick(
        self,
        at: float,
        model_group: str,
        everyone: tuple[str, ...],
        preferred: tuple[str, ...],
        probed: str = "",
        *,
        applied: bool = True,
    ) -> None:
        """Count one request.

        Args:
            at: when, UTC seconds.
            model_group: what was asked for.
            everyone: deployments that could have served; naming one twice changes nothing.
            preferred: those that tiers left.
            probed: the deployment that was probed instead; empty for none.
            applied: whether that held, or was only observed.
        """
        kind = _PickClass(_hour(at), model_group, everyone, preferred, probed, applied)
        with self._lock:
            times = self._kinds.get(kind, 0)
            if not times and len(self._kinds) >= _KINDS:
                self._add_up()
            self._kinds[kind] = times + 1

    def add_stay(self, at: float, model_group: str) -> None:
        """Count one request that went where its conversation is."""
        with self._lock:
            self._row(at, model_group, WHOLE_GROUP).stays += 1

    def add_answer(self, at: float, model_group: str, deployment: str, *, bad: bool, cost: float | None) -> None:
        """Count one answer to a request with tools; ``cost`` in USD, None without a price."""
        with self._lock:
            row = self._row(at, model_group, deployment)
            row.answers += 1
            row.bad += bad
            if cost is not None and math.isfinite(cost):
                row.priced += 1
                row.cost += cost
                row.cost_squares += cost * cost

    def add_rescue(self, at: float, model_group: str, *, rescued: bool, cost: float | None) -> None:
        """Count one attempt to rescue; ``cost`` is that of the answers that nobody got."""
        with self._lock:
            row = self._row(at, model_group, WHOLE_GROUP)
            row.rescues += 1
            row.rescued += rescued
            row.rescue_cost += cost or 0.0

    def take(self, now: float) -> list[HourCount]:
        """The rows that changed since the last time, each with all that was counted in its hour so far."""
        with self._lock:
            self._add_up()
            rows = [HourCount(*key, replace(self._rows[key])) for key in sorted(self._touched)]
            self._touched.clear()
            self._rows = defaultdict(
                PickNumbers, {key: row for key, row in self._rows.items() if key[0] >= _hour(now) - HOUR_S}
            )
            return rows

    def _row(self, at: float, model_group: str, deployment: str) -> PickNumbers:
        key = (_hour(at), model_group, deployment)
        self._touched.add(key)
        return self._rows[key]

    def _add_up(self) -> None:
        """What the kinds counted so far come to per deployment."""
        for kind, times in self._kinds.items():
            hour, group = kind.hour, kind.model_group
            weights = self.weights.get(group, {})
            everyone, preferred = shares(kind.everyone, weights), shares(kind.preferred, weights)
            whole = self._row(hour, group, WHOLE_GROUP)
            whole.picks += times
            whole.applied += times * kind.applied
            whole.changed += times * math.fsum(part for name, part in everyone.items() if name not in preferred)
            for name, share in everyone.items():
                self._row(hour, group, name).without_tiers += times * share
            for name, share in ({kind.probed: 1.0} if kind.probed else preferred).items():
                self._row(hour, group, name).with_tiers += times * share
            if kind.probed:
                self._row(hour, group, kind.probed).probes += times
                for name, share in preferred.items():
                    self._row(hour, group, name).instead += times * share
        self._kinds.clear()


def shares(names: tuple[str, ...], weights: Mapping[str, float]) -> dict[str, float]:
    """How a strategy that goes by weights shares requests out; evenly when nobody has one."""
    given = {name: weights.get(name, 1.0) for name in names}
    total = math.fsum(given.values())
    return {name: weight / total if total > 0 else 1.0 / len(given) for name, weight in given.items()}


def _hour(at: float) -> float:
    return at // HOUR_S * HOUR_S
