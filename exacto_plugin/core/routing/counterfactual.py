"""Counts the effect of tiers: picks with and without tiers, and answer quality.

The counts are exact and hourly, not sampled. A request adds one to the count of its class (its candidates and its
pool); the shares per deployment are computed when the counts are read. The operator's strategy picks inside a pool;
it is assumed to follow the declared weights. Uses no clock and no store.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.model import DeploymentKey, Outcome, Tier
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Mapping


HOUR_S = 3600.0

_KINDS = 2048
"""Number of request classes kept apart before they are added up.
Merged tiers draw a new pool for each request, so classes can be many."""

LOST = "lost"
"""The kind of a bad answer whose calls that arrived were good."""

BAD_KINDS = (*(outcome.value for outcome in Outcome if outcome.is_bad), LOST)
"""The kinds of bad answers, as columns of ``PickNumbers``."""

SENT = {tier.value: f"sent_{tier.value}" for tier in Tier}
"""The columns of ``PickNumbers`` that count answers by tier."""

WHOLE_GROUP = DeploymentKey("")
"""The deployment name under which numbers of the whole model group are stored."""


@wire(
    "picks changed applied stays with_tiers without_tiers probes instead answers bad priced cost cost_squares "
    "rescues rescued rescue_cost invalid_json unknown_name schema_mismatch lost calls sent_verified_good "
    "sent_insufficient_data sent_deranked applied_with applied_without"
)
@dataclass(slots=True)
class PickNumbers:
    """The numbers of one deployment, or of a model group, in one hour.

    Requests are first attempts that tiers order.
    """

    picks: float = 0.0
    """Model group: requests that affinity did not assign to a deployment."""
    changed: float = 0.0
    """Model group: picks that tiers moved to another deployment, as expected values.
    In ``observe``, the picks that tiers would have moved."""
    applied: float = 0.0
    """Model group: picks to which tiers were applied; the others were only observed."""
    stays: float = 0.0
    """Model group: requests that stayed at their conversation's deployment."""
    with_tiers: float = 0.0
    """Picks of the deployment with tiers, probes included, as an expected value."""
    without_tiers: float = 0.0
    """Picks of the deployment without tiers, as an expected value."""
    probes: float = 0.0
    """Picks that were probes of the deployment."""
    instead: float = 0.0
    """Picks of the deployment if the model group's probes had not been probes."""
    answers: float = 0.0
    """Finished answers to requests with tools."""
    bad: float = 0.0
    """Answers with a bad or lost call, as tiers count it."""
    priced: float = 0.0
    """Answers with a known price."""
    cost: float = 0.0
    """Cost of the priced answers in USD."""
    cost_squares: float = 0.0
    """Sum of the squared costs in USD^2, for the variance."""
    rescues: float = 0.0
    """Bad answers for which another deployment was asked.
    Of the model group, and of the deployment with the bad answer, as are the next two."""
    rescued: float = 0.0
    """Bad answers that were replaced by a good one."""
    rescue_cost: float = 0.0
    """Cost in USD of answers that were not delivered."""
    invalid_json: float = 0.0
    """Bad answers whose worst call was no JSON object; the kinds add up to ``bad``."""
    unknown_name: float = 0.0
    """Bad answers whose worst call named a tool that was not offered."""
    schema_mismatch: float = 0.0
    """Bad answers whose worst call violated its tool's schema."""
    lost: float = 0.0
    """Bad answers of which a call did not arrive as a call."""
    calls: float = 0.0
    """Answers with a call that was good, bad or lost; the rest of ``answers`` called no tool."""
    sent_verified_good: float = 0.0
    """Answers of requests that were sent while it had this tier, as are the next two."""
    sent_insufficient_data: float = 0.0
    sent_deranked: float = 0.0
    applied_with: float = 0.0
    """The part of ``with_tiers`` to which tiers were applied; 0 on records of earlier versions."""
    applied_without: float = 0.0
    """The part of ``without_tiers`` to which tiers were applied; 0 on records of earlier versions."""

    def add(self, other: PickNumbers) -> None:
        """Add the numbers of another hour or another worker."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class HourCount(NamedTuple):
    """One row: the counts of this process in one hour so far."""

    hour: float
    """Start of the hour, UTC seconds."""
    model_group: str
    deployment: DeploymentKey
    """The deployment; ``WHOLE_GROUP`` for the numbers of the model group."""
    numbers: PickNumbers


class _PickClass(NamedTuple):
    """Requests of one hour with the same candidates and the same pool."""

    hour: float
    model_group: str
    everyone: tuple[DeploymentKey, ...]
    preferred: tuple[DeploymentKey, ...]
    probed: DeploymentKey
    applied: bool


def whole_hours(since: float, until: float, now: float) -> tuple[float, float]:
    """Return the time range of a report in whole hours, as counts are kept.

    >>> whole_hours(5000.0, 9000.0, 9000.0), whole_hours(5000.0, 9000.0, 90_000.0)
    ((3600.0, 9000.0), (3600.0, 10800.0))
    """
    return since // HOUR_S * HOUR_S, max(until, min(now, -(-until // HOUR_S) * HOUR_S))


class CounterfactualCounts:
    """The counts of one process; thread-safe."""

    def __init__(self) -> None:
        self.weights: Mapping[str, Mapping[DeploymentKey, float]] = {}
        """Declared weights by model group and deployment; a missing one is 1.
        The mapping is replaced, never changed in place."""
        self._lock = threading.Lock()
        self._kinds: dict[_PickClass, int] = {}
        self._rows: dict[tuple[float, str, DeploymentKey], PickNumbers] = defaultdict(PickNumbers)
        self._touched: set[tuple[float, str, DeploymentKey]] = set()

    def add_pick(
        self,
        at: float,
        model_group: str,
        everyone: tuple[DeploymentKey, ...],
        preferred: tuple[DeploymentKey, ...],
        probed: DeploymentKey = WHOLE_GROUP,
        *,
        applied: bool = True,
    ) -> None:
        """Count one request.

        Args:
            at: time of the request, UTC seconds.
            model_group: the requested model group.
            everyone: deployments that could have served the request; duplicates change nothing.
            preferred: those of them in the pool that tiers chose.
            probed: the deployment that was probed instead; empty for none.
            applied: True if tiers were applied, False if they were only observed.
        """
        kind = _PickClass(_hour(at), model_group, everyone, preferred, probed, applied)
        with self._lock:
            times = self._kinds.get(kind, 0)
            if not times and len(self._kinds) >= _KINDS:
                self._add_up()
            self._kinds[kind] = times + 1

    def add_stay(self, at: float, model_group: str) -> None:
        """Count one request that stayed at its conversation's deployment."""
        with self._lock:
            self._row(at, model_group, WHOLE_GROUP).stays += 1

    def add_answer(
        self,
        at: float,
        model_group: str,
        deployment: DeploymentKey,
        *,
        bad: bool,
        cost: float | None,
        outcome: str = "",
        tier: str = "",
    ) -> None:
        """Count one answer to a request with tools.

        Args:
            at: UTC seconds.
            model_group: the requested model group.
            deployment: the deployment that answered.
            bad: True for a bad or lost call.
            cost: USD; None without a price.
            outcome: of the worst call; a bad answer with another one than the bad outcomes counts as ``lost``.
            tier: of the deployment when the request was sent; empty where none was looked up.
        """
        with self._lock:
            row = self._row(at, model_group, deployment)
            row.answers += 1
            row.bad += bad
            row.calls += bad or outcome == Outcome.VALID
            if tier:
                name = SENT[tier]
                setattr(row, name, getattr(row, name) + 1)
            if bad:
                kind = outcome if outcome in BAD_KINDS else LOST
                setattr(row, kind, getattr(row, kind) + 1)
            if cost is not None and math.isfinite(cost):
                row.priced += 1
                row.cost += cost
                row.cost_squares += cost * cost

    def add_rescue(
        self, at: float, model_group: str, deployment: DeploymentKey, *, rescued: bool, cost: float | None
    ) -> None:
        """Count one rescue from a deployment's bad answer.

        ``cost`` is that of the answers that were not delivered.
        """
        with self._lock:
            for row in (self._row(at, model_group, WHOLE_GROUP), self._row(at, model_group, deployment)):
                row.rescues += 1
                row.rescued += rescued
                row.rescue_cost += cost or 0.0

    def take(self, now: float) -> list[HourCount]:
        """Return the rows changed since the last call, each with its hour's full counts."""
        with self._lock:
            self._add_up()
            rows = [HourCount(*key, replace(self._rows[key])) for key in sorted(self._touched)]
            self._touched.clear()
            self._rows = defaultdict(
                PickNumbers, {key: row for key, row in self._rows.items() if key[0] >= _hour(now) - HOUR_S}
            )
            return rows

    def _row(self, at: float, model_group: str, deployment: DeploymentKey) -> PickNumbers:
        key = (_hour(at), model_group, deployment)
        self._touched.add(key)
        return self._rows[key]

    def _add_up(self) -> None:
        """Add the counted request classes to the rows of their deployments."""
        for kind, times in self._kinds.items():
            hour, group = kind.hour, kind.model_group
            weights = self.weights.get(group, {})
            everyone, preferred = shares(kind.everyone, weights), shares(kind.preferred, weights)
            whole = self._row(hour, group, WHOLE_GROUP)
            whole.picks += times
            whole.applied += times * kind.applied
            whole.changed += times * math.fsum(part for name, part in everyone.items() if name not in preferred)
            for name, share in everyone.items():
                row = self._row(hour, group, name)
                row.without_tiers += times * share
                row.applied_without += times * share * kind.applied
            for name, share in ({kind.probed: 1.0} if kind.probed else preferred).items():
                row = self._row(hour, group, name)
                row.with_tiers += times * share
                row.applied_with += times * share * kind.applied
            if kind.probed:
                self._row(hour, group, kind.probed).probes += times
                for name, share in preferred.items():
                    self._row(hour, group, name).instead += times * share
        self._kinds.clear()


def shares(keys: tuple[DeploymentKey, ...], weights: Mapping[DeploymentKey, float]) -> dict[DeploymentKey, float]:
    """Return each deployment's share of requests by weight; equal shares if all are 0."""
    given = {key: weights.get(key, 1.0) for key in keys}
    total = math.fsum(given.values())
    return {key: weight / total if total > 0 else 1.0 / len(given) for key, weight in given.items()}


def _hour(at: float) -> float:
    return at // HOUR_S * HOUR_S
