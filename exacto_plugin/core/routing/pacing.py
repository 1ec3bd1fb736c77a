"""Paces deployments that refuse requests for a rate limit, between two recomputes.

A recompute learns what a deployment carries (:mod:`exacto_plugin.core.tiers.adaptive.refusals`) and widens the pool,
minutes after the first refusal (429). Until then, and against the chance by which requests arrive, a deployment that
refused is chosen no more often than it answered in the minute before, less a tenth. A token bucket counts what it may
have; while that is used up, another deployment is chosen if there is one. Each process learns from its own requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exacto_plugin.core.model import DeploymentKey, Snapshot

_MINUTE_S = 60.0

KEPT = 0.9
"""Share of the answers of the minute before a refusal that the next minutes may have."""

PAUSE_S = 15.0
"""Seconds without requests after a refusal.
LiteLLM's own cooldown is 5 s by default; limits count a minute, which has to pass in part."""

BURST_S = 5.0
"""Seconds of unused requests that accumulate at most."""

HOLD_S = 600.0
"""Seconds after a refusal until the pace rises; it doubles in each of the same length.
From 0.9 of a limit it is reached again after another 90 s: a refusal in 12 minutes."""

_FORGOTTEN_DOUBLINGS = 5.0
"""Doublings after which a pace is no limit any more."""

FIRST_PACE = 12.0
"""Requests a minute at least after a first refusal: few answers in the minute before tell of little demand, not of a
limit. LiteLLM's own cooldown of 5 s permits as many."""

_LEAST_PACE = 1.0
"""Requests a minute with which a deployment that refuses everything is tried."""


class RecentCount:
    """Requests of the last 60 seconds that were not refused.

    From the counts of two minutes: the one before counts in proportion to its part of the 60 seconds, as if its
    requests were spread evenly.
    """

    __slots__ = ("_before", "_minute", "_now")

    def __init__(self) -> None:
        self._minute, self._before, self._now = 0, 0, 0

    def add(self, now: float, number: int = 1) -> None:
        """Count a request, or with -1 take a refused one back."""
        self._move(now)
        self._now += number

    def read(self, now: float) -> float:
        """Return the number of the last 60 seconds."""
        self._move(now)
        return self._now + self._before * max(0.0, 1.0 - (now - self._minute * _MINUTE_S) / _MINUTE_S)

    def _move(self, now: float) -> None:
        minute = int(now // _MINUTE_S)
        if minute > self._minute:
            self._before = self._now if minute == self._minute + 1 else 0
            self._minute, self._now = minute, 0


@dataclass(slots=True)
class Pace:
    """Requests a minute that a deployment may have, and a token bucket of them."""

    rate: float
    """Requests a minute as of ``refused_at``."""
    cut_at: float
    """UTC seconds of the refusal that set ``rate``; those of the same minute leave it."""
    refused_at: float
    """UTC seconds of the last refusal."""
    tokens: float
    """Requests that it may have now; negative during a pause."""
    filled_at: float
    """UTC seconds as of which ``tokens`` holds."""

    def doublings(self, now: float) -> float:
        """Return how often the rate has doubled since the last refusal."""
        return max(0.0, now - self.refused_at - HOLD_S) / HOLD_S

    def fill(self, now: float) -> None:
        """Add the tokens of the time that has passed."""
        rate = self.rate * 2.0 ** self.doublings(now) / _MINUTE_S
        passed = max(0.0, now - self.filled_at)
        self.tokens = min(max(1.0, rate * BURST_S), self.tokens + rate * passed)
        self.filled_at = max(now, self.filled_at)


class Pacing:
    """Paces of the deployments of one process, by model group."""

    __slots__ = ("_counts", "_paces")

    def __init__(self) -> None:
        self._counts: dict[str, dict[DeploymentKey, RecentCount]] = {}
        self._paces: dict[str, dict[DeploymentKey, Pace]] = {}

    def reset(self, snapshot: Snapshot) -> None:
        """Forget the model groups that a new snapshot does not have."""
        self._counts = {group: counts for group, counts in self._counts.items() if group in snapshot.groups}
        self._paces = {group: paces for group, paces in self._paces.items() if group in snapshot.groups}

    def note_attempt(self, model_group: str, deployment: DeploymentKey, now: float) -> None:
        """Count a request that is sent to a deployment."""
        self._count(model_group, deployment).add(now)
        if self._paces and (pace := self._paces.get(model_group, {}).get(deployment)) is not None:
            pace.fill(now)
            pace.tokens -= 1.0

    def note_refusal(self, model_group: str, deployment: DeploymentKey, now: float) -> None:
        """Set the pace of a deployment that refused a request."""
        count = self._count(model_group, deployment)
        count.add(now, -1)
        paces = self._paces.setdefault(model_group, {})
        pace = paces.get(deployment)
        if pace is None or now - pace.cut_at > _MINUTE_S:
            least = FIRST_PACE if pace is None else max(KEPT * pace.rate / 2.0, _LEAST_PACE)
            rate = max(KEPT * count.read(now), least)
            pace = paces[deployment] = Pace(rate, now, now, 0.0, now)
        pace.refused_at = max(now, pace.refused_at)
        pace.tokens = min(pace.tokens, -pace.rate * PAUSE_S / _MINUTE_S)

    def busy(self, model_group: str, now: float) -> frozenset[DeploymentKey]:
        """Return the deployments of a model group that had what they may have."""
        paces = self._paces.get(model_group)
        if not paces:
            return frozenset()
        for deployment in [one for one, pace in paces.items() if pace.doublings(now) > _FORGOTTEN_DOUBLINGS]:
            del paces[deployment]
        for pace in paces.values():
            pace.fill(now)
        return frozenset(one for one, pace in paces.items() if pace.tokens < 1.0)

    def _count(self, model_group: str, deployment: DeploymentKey) -> RecentCount:
        counts = self._counts.setdefault(model_group, {})
        found = counts.get(deployment)
        if found is None:
            found = counts[deployment] = RecentCount()
        return found
