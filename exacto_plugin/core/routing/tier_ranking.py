"""Ranks and probes that follow from candidates and the verdicts on them alone.

The same deployments are candidates of request after request, and their verdicts change at a recompute only.
:class:`KnownCandidates` therefore keep their ranking until the verdicts are other ones.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from exacto_plugin.core.decision import Ranked
from exacto_plugin.core.model import Candidate, DeploymentKey, GroupSnapshot, LiteLLMId, Tier, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

TIER_RANK: Mapping[Tier, int] = {tier: rank for rank, tier in enumerate(Tier)}
"""Position of each tier in the order; 0 is tried first."""

_LAST_LEVEL = math.inf
"""Level of deployments without ``order``: they come last.
LiteLLM ignores them while a deployment with ``order`` is available."""

_MOST_KEPT = 16
"""Largest number of candidates of which ``led_by`` keeps what it returns: at most 32 tuples of 16 each."""


class KnownCandidates(tuple[Candidate, ...]):
    """Candidates of several requests, with their ranking.

    Equal to the plain tuple.
    """

    ranking: TierRanking | None = None
    """The newest ranking; see ``ranking_of``."""

    @cached_property
    def by_id(self) -> Mapping[str, Candidate]:
        """The candidates by LiteLLM id; not to be changed."""
        return {candidate.id: candidate for candidate in self}


class TierRanking:
    """The ranks and probes of some candidates under the verdicts of their model group.

    Each part is computed when it is first read.

    Args:
        candidates: not changed as long as this is in use.
        group: the verdicts; None without any.
    """

    def __init__(self, candidates: Sequence[Candidate], group: GroupSnapshot | None) -> None:
        self.group = group
        self._candidates = candidates
        self._led: dict[tuple[LiteLLMId, bool], tuple[Ranked, ...]] = {}

    @cached_property
    def ids(self) -> tuple[LiteLLMId, ...]:
        """LiteLLM ids in the order of the candidates."""
        return tuple([c.id for c in self._candidates])

    @cached_property
    def verdicts(self) -> Mapping[DeploymentKey, Verdict | None]:
        """The verdict on each deployment; None without one."""
        known = self.group.verdicts if self.group is not None else {}
        return {c.key: known.get(c.key) for c in self._candidates}

    @cached_property
    def tiers(self) -> Mapping[DeploymentKey, Tier]:
        """The tier of each deployment."""
        return {
            key: Tier.INSUFFICIENT_DATA if verdict is None else verdict.tier for key, verdict in self.verdicts.items()
        }

    @cached_property
    def places(self) -> Mapping[DeploymentKey, int]:
        """The position of each deployment's tier."""
        return {key: TIER_RANK[tier] for key, tier in self.tiers.items()}

    @cached_property
    def unranked(self) -> tuple[Ranked, ...]:
        """All candidates with equal ranks, in their order."""
        tiers = self.tiers
        return tuple([Ranked(c.id, c.key, 0, tiers[c.key]) for c in self._candidates])

    @cached_property
    def ranked(self) -> tuple[Ranked, ...]:
        """The candidates by operator level and tier, deranked ones after all levels."""
        return self.rank_by(lambda candidate: tier_order(candidate, self.places))

    @cached_property
    def _ranked_lower(self) -> tuple[Ranked, ...]:
        """``ranked``, each one rank lower."""
        return _lowered(self.ranked)

    @cached_property
    def _unranked_lower(self) -> tuple[Ranked, ...]:
        """``unranked``, each one rank lower."""
        return _lowered(self.unranked)

    def led_by(self, at: Candidate, ranking: tuple[Ranked, ...]) -> tuple[Ranked, ...]:
        """Return a ranking with one of the candidates before all others.

        What it returns for ``ranked`` and ``unranked`` is kept for up to 16 candidates: with 4 deployments it takes
        0.4 us, and 2 us built again. Of more candidates the lower ranks are kept: with 64 it takes 9 us, and 167 us
        anew.

        Args:
            at: the candidate that comes first.
            ranking: of the candidates, or another one of them.
        """
        known = self.__dict__
        by_tier = ranking is known.get("ranked")
        if not (by_tier or ranking is known.get("unranked")):
            return self._led_by(at, _lowered(ranking))
        led = self._led.get((at.id, by_tier))
        if led is None:
            led = self._led_by(at, self._ranked_lower if by_tier else self._unranked_lower)
            if len(self._candidates) <= _MOST_KEPT:
                self._led[at.id, by_tier] = led
        return led

    def _led_by(self, at: Candidate, lower: Sequence[Ranked]) -> tuple[Ranked, ...]:
        return (Ranked(at.id, at.key, 0, self.tiers[at.key]), *[one for one in lower if one.id != at.id])

    @cached_property
    def best(self) -> tuple[LiteLLMId, ...]:
        """LiteLLM ids of the best rank in ``ranked``."""
        return best_of(self.ranked)

    @cached_property
    def first(self) -> tuple[bool, float]:
        """The smallest :meth:`order` of any candidate."""
        return min(self.order(c) for c in self._candidates)

    def order(self, candidate: Candidate) -> tuple[bool, float]:
        """Return whether a candidate is deranked, and its level; smaller comes first."""
        return self.is_deranked(candidate.key), level_of(candidate)

    def is_deranked(self, key: DeploymentKey) -> bool:
        """Return whether one of the deployments is deranked."""
        return self.tiers[key] is Tier.DERANKED

    @cached_property
    def probe_shares(self) -> Mapping[DeploymentKey, float]:
        """Probability of a probe of each deployment by a request that may probe.

        Only positive probabilities. A deployment at a later operator level is not probed while an earlier level can
        serve.
        """
        serving = [level_of(c) for c in self._candidates if not self.is_deranked(c.key)]
        reached = min(serving, default=_LAST_LEVEL)
        return {
            c.key: verdict.probe_share
            for c in self._candidates
            if level_of(c) <= reached and (verdict := self.verdicts[c.key]) is not None and verdict.probe_share > 0
        }

    def rank_by(self, key_of: Callable[[Candidate], tuple[float, ...]]) -> tuple[Ranked, ...]:
        """Return dense ranks by ``key_of``, ascending; ties keep the candidates' order."""
        keys = {c.id: key_of(c) for c in self._candidates}
        rank_of = {key: rank for rank, key in enumerate(sorted(set(keys.values())))}
        tiers = self.tiers
        ranked = [Ranked(c.id, c.key, rank_of[keys[c.id]], tiers[c.key]) for c in self._candidates]
        ranked.sort(key=lambda r: r.rank)
        return tuple(ranked)


def ranking_of(candidates: Sequence[Candidate], group: GroupSnapshot | None) -> TierRanking:
    """Return the ranking of some candidates; of known ones it is kept.

    Args:
        candidates: of one attempt.
        group: of the snapshot in force; never changed in place, so that the object stands for its contents.
    """
    if not isinstance(candidates, KnownCandidates):
        return TierRanking(candidates, group)
    known = candidates.ranking
    if known is None or known.group is not group:
        # Two threads may both compute it, with equal results.
        known = candidates.ranking = TierRanking(candidates, group)
    return known


def _lowered(ranking: Sequence[Ranked]) -> tuple[Ranked, ...]:
    return tuple([Ranked(one.id, one.key, one.rank + 1, one.tier) for one in ranking])


def best_of(ranked: Sequence[Ranked]) -> tuple[LiteLLMId, ...]:
    """Return the ids of the best rank; empty without candidates."""
    return tuple([one.id for one in ranked if one.rank == ranked[0].rank])


def untried(ranked: Sequence[Ranked], tried: Collection[LiteLLMId]) -> Sequence[Ranked]:
    """Return the ranked candidates that were not tried."""
    return [one for one in ranked if one.id not in tried] if tried else ranked


def level_of(candidate: Candidate) -> float:
    """Return the operator's level of a deployment; lower levels come first."""
    return _LAST_LEVEL if candidate.level is None else float(candidate.level)


def tier_order(candidate: Candidate, places: Mapping[DeploymentKey, int]) -> tuple[float, ...]:
    """Return the sort key by operator level, then tier; deranked after all levels."""
    place = places[candidate.key]
    return (float(place == TIER_RANK[Tier.DERANKED]), level_of(candidate), float(place))
