"""Orders the deployments of one attempt and returns a Decision.

Input: candidates, snapshot, policy and the deployments already tried. Pure and total: every non-empty list of
candidates gives a non-empty pool out of that list. The pool holds the deployments that may be picked now; LiteLLM's
own routing strategy picks inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from exacto_plugin.core.decision import Decision
from exacto_plugin.core.model import (
    Candidate,
    DeploymentKey,
    GroupSnapshot,
    LiteLLMId,
    Mode,
    ReasonCode,
    Snapshot,
    Sort,
    Tier,
    Verdict,
)
from exacto_plugin.core.routing.filters import NamedList
from exacto_plugin.core.routing.preferences import preference_class, preference_classes
from exacto_plugin.core.routing.tier_ranking import TIER_RANK, best_of, level_of, ranking_of, tier_order, untried

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from exacto_plugin.core.decision import AffinityTarget, Ranked
    from exacto_plugin.core.routing.policy import Policy
    from exacto_plugin.core.routing.tier_ranking import TierRanking

MayProbe = Callable[[DeploymentKey], bool]
"""Returns True if a probe of a deployment is within its budget."""


@dataclass(slots=True)
class RoutingRequest:
    """The input of one attempt's decision.

    Never changed, though not frozen; see :class:`Decision`.
    """

    model_group: str
    candidates: Sequence[Candidate]
    policy: Policy
    tools: bool
    mode: Mode = Mode.APPLY
    in_share: bool = True
    """False when the conversation is outside ``apply_share``: tiers are only observed."""
    tried: Collection[LiteLLMId] = ()
    """LiteLLM ids that this request has already been sent to."""
    rescue: bool = False
    """True for a rescue after a bad answer: tiers are then not merged.
    Verified good deployments come first, even where traffic is otherwise shared."""
    home: AffinityTarget | None = None
    """The conversation's deployment; None for a new one or a request without one."""
    busy: Collection[DeploymentKey] = ()
    """Deployments that refuse more requests for a rate limit: tiers leave them out while another is left."""

    @property
    def in_conversation(self) -> bool:
        """True for a running conversation, which no probe may move."""
        return self.home is not None and not self.home.is_new


_NO_PROBES: Mapping[DeploymentKey, float] = MappingProxyType({})


def _always(deployment: DeploymentKey) -> bool:
    return True


def decide(
    ask: RoutingRequest,
    snapshot: Snapshot,
    draw: Callable[[], float],
    may_probe: MayProbe = _always,
    passed: int = 0,
) -> Decision:
    """Order the candidates of one attempt.

    Args:
        ask: the request.
        snapshot: the verdicts in force; nothing is computed from samples here.
        draw: uniform random numbers in [0, 1); used by lotteries, merged tiers and probes only.
        may_probe: the budget of probes.
        passed: requests eligible for a probe that were skipped as part of a conversation, since the last one that was
            not.

    Returns:
        A decision whose pool is a non-empty subset of the candidates whenever there are candidates.
    """
    if ask.policy.preferences and ask.policy.sort is not Sort.ORDER:
        classes = preference_classes(ask.policy.preferences, ask.candidates, snapshot.groups.get(ask.model_group))
        if len(classes) > 1:
            return _preferred(ask, classes, snapshot, draw)
    sort = ask.policy.sort
    ranking = ranking_of(ask.candidates, snapshot.groups.get(ask.model_group))
    if sort is Sort.AUTO and not ask.tools:
        return _unordered(ask, ranking, "no_tools")
    if sort is Sort.NONE:
        return _unordered(ask, ranking, "no_sort")
    if sort in (Sort.AUTO, Sort.EXACTO):
        return _by_tier(ask, ranking, draw, may_probe, passed)
    return _by_sort(ask, ranking, draw)


def _preferred(
    ask: RoutingRequest, classes: Sequence[Sequence[Candidate]], snapshot: Snapshot, draw: Callable[[], float]
) -> Decision:
    """Order each preference class separately; the first untried one is served."""
    policy = replace(ask.policy, preferences=())
    parts = [decide(replace(ask, candidates=one, policy=policy), snapshot, draw, lambda _: False) for one in classes]
    untried = [part for part, one in zip(parts, classes, strict=True) if any(c.id not in ask.tried for c in one)]
    serving = (untried or parts)[0]
    ranking: list[Ranked] = []
    for part in parts:
        first = ranking[-1].rank + 1 if ranking else 0
        ranking += [replace(ranked, rank=first + ranked.rank) for ranked in part.ranking]
    reason = "preferred" if untried else "tried_all"
    return replace(serving, ranking=tuple(ranking), applied=True, reason=reason)


def _unordered(ask: RoutingRequest, ranking: TierRanking, reason: str) -> Decision:
    """Return a decision without an order; the ranking still has the tiers."""
    return Decision(ask.policy.sort, ranking.unranked, ranking.ids, applied=False, reason=reason)


def _best(ranked: Sequence[Ranked], tried: Collection[LiteLLMId]) -> tuple[tuple[LiteLLMId, ...], bool]:
    """Return the ids of the best untried rank (of all if everything was tried)."""
    left = untried(ranked, tried)
    return best_of(left or ranked), bool(left)


def _not_busy(ask: RoutingRequest, ranking: TierRanking, ranked: Sequence[Ranked]) -> tuple[LiteLLMId, ...]:
    """Return the ids of the best rank without deployments that refuse more.

    None where only clear outliers are left: a refusal (429) costs less than a bad call, so it brings back only what the
    price of bad calls deranked.
    """
    available, others = _best(ranked, (*ask.tried, *(one.id for one in ranked if one.key in ask.busy)))
    if not others:
        return ()
    keys = {one.id: one.key for one in ranked}
    return tuple(one for one in available if not _is_clear_outlier(ranking, keys[one]))


def _is_clear_outlier(ranking: TierRanking, key: DeploymentKey) -> bool:
    """Check for a deployment that not only the price of bad calls deranked."""
    verdict = ranking.verdicts[key]
    if verdict is None or verdict.tier is not Tier.DERANKED:
        return False
    by_price = any(one.strictness is not None and one.strictness.by_price for one in verdict.reasons)
    return not by_price or any(one.code is ReasonCode.OVERRIDE for one in verdict.reasons)


def _merged_places(ask: RoutingRequest, ranking: TierRanking, draw: Callable[[], float]) -> Mapping[DeploymentKey, int]:
    """Return the rank of each deployment's tier, with merged tiers drawn at random.

    Deployments with insufficient data join the best tier with their keep probability. If no deployment at an ``order``
    level would be in the best tier, the deployments with the highest keep probability are promoted to it.
    """
    places = dict(ranking.places)
    chances = {
        key: verdict.keep_probability if verdict else 1.0
        for key, verdict in ranking.verdicts.items()
        if places[key] == TIER_RANK[Tier.INSUFFICIENT_DATA]
    }
    places.update((key, 0) for key, chance in chances.items() if chance >= 1.0 or draw() < chance)
    left = [c for c in ask.candidates if c.id not in ask.tried and places[c.key] < TIER_RANK[Tier.DERANKED]]
    first = min((level_of(c) for c in left), default=0.0)
    here = {c.key for c in left if level_of(c) == first}
    if here and min(places[key] for key in here) > 0:
        most = max(chances[key] for key in here)
        places.update((key, 0) for key in here if chances[key] == most)
    return places


def _may_explore(ask: RoutingRequest) -> bool:
    """Check that an attempt may be a probe.

    Probes are first attempts of requests with tools that state no preference of their own and that tiers apply to.
    """
    policy = ask.policy
    asked = policy.explicit or policy.curated or policy.preferences or not policy.allow_fallbacks
    asked = asked or policy.sort not in (Sort.AUTO, Sort.EXACTO)
    return ask.tools and not asked and ask.mode is Mode.APPLY and ask.in_share and not ask.tried


def probe_shares(ask: RoutingRequest, snapshot: Snapshot) -> Mapping[DeploymentKey, float]:
    """Return the probability of a probe by this attempt for each deployment key.

    Only positive probabilities are returned; budgets are checked elsewhere. The share that running conversations
    cannot use is added to new ones. A deployment at a later operator level is not probed while an earlier level can
    serve.
    """
    group = snapshot.groups.get(ask.model_group)
    if group is None or not _may_explore(ask):
        return _NO_PROBES
    return ranking_of(ask.candidates, group).probe_shares


def _probed(
    ask: RoutingRequest, ranking: TierRanking, draw: Callable[[], float], may_probe: MayProbe, passed: int
) -> tuple[LiteLLMId, ...]:
    """Draw the deployment that this attempt probes; return its ids, or none.

    Only new conversations are probed. A conversation sent to a deranked deployment leaves it at the next turn, so its
    probability includes the turns that were skipped; at any other deployment the conversation stays.
    """
    shares = _NO_PROBES if ask.in_conversation or not _may_explore(ask) else ranking.probe_shares
    chance = draw() if shares else 1.0
    for key, share in shares.items():
        chance -= share * (1 + passed) if ranking.is_deranked(key) else share
        if chance < 0:
            level = min(level_of(c) for c in ask.candidates if c.key == key)
            ids = tuple(c.id for c in ask.candidates if c.key == key and level_of(c) == level)
            return ids if may_probe(key) else ()
    return ()


def _by_tier(
    ask: RoutingRequest, ranking: TierRanking, draw: Callable[[], float], may_probe: MayProbe, passed: int
) -> Decision:
    """Order by operator level, then tier; deranked deployments come after all levels."""
    if ask.mode is Mode.OFF:
        return _unordered(ask, ranking, "mode_off")
    group, sort = ranking.group, ask.policy.sort
    if group is not None and group.merge_tiers and not ask.rescue:
        places = _merged_places(ask, ranking, draw)
        ranked = ranking.rank_by(lambda candidate: tier_order(candidate, places))
        pool, fresh = _best(ranked, ask.tried)
    else:
        ranked = ranking.ranked
        pool, fresh = _best(ranked, ask.tried) if ask.tried else (ranking.best, bool(ranked))
    reason = "tried_all" if not fresh else "one_tier" if len(pool) == len(ask.candidates) else "tiers"
    if fresh and ask.busy:
        available = _not_busy(ask, ranking, ranked)
        pool, reason = (available, "rate_limited") if available and available != pool else (pool, reason)
    if ask.mode is Mode.OBSERVE or not ask.in_share:
        observed = "observe" if ask.mode is Mode.OBSERVE else "share"
        return Decision(sort, ranked, ranking.ids, applied=False, reason=observed, preferred=pool)
    probed = _probed(ask, ranking, draw, may_probe, passed)
    if probed and not set(probed) >= set(pool):
        return Decision(sort, ranked, probed, True, "probe", preferred=pool, explored=True)
    return Decision(sort, ranked, pool, applied=True, reason=reason, preferred=pool)


def _by_sort(ask: RoutingRequest, ranking: TierRanking, draw: Callable[[], float]) -> Decision:
    """Order fully by the client's list, price, speed or lottery; unknown values last."""
    ranked = ranking.rank_by(_sort_key(ask.policy, ranking.group, draw))
    pool, fresh = _best(ranked, ask.tried)
    reason = "sort" if fresh else "tried_all"
    return Decision(ask.policy.sort, ranked, pool, applied=True, reason=reason, preferred=pool)


def _verdict(group: GroupSnapshot | None, key: DeploymentKey) -> Verdict | None:
    return group.verdicts.get(key) if group is not None else None


def _sort_key(
    policy: Policy, group: GroupSnapshot | None, draw: Callable[[], float]
) -> Callable[[Candidate], tuple[float, ...]]:
    """Return the sort key of an explicit order; the smallest key comes first."""

    order = NamedList(policy.order)

    def listed(candidate: Candidate) -> tuple[float, ...]:
        return (float(order.place(candidate)),)

    def price(candidate: Candidate) -> tuple[float, ...]:
        return (math.inf if candidate.price is None else candidate.price,)

    def throughput(candidate: Candidate) -> tuple[float, ...]:
        verdict = _verdict(group, candidate.key)
        return (math.inf if verdict is None or verdict.throughput is None else -verdict.throughput,)

    def latency(candidate: Candidate) -> tuple[float, ...]:
        verdict = _verdict(group, candidate.key)
        return (math.inf if verdict is None or verdict.latency_s is None else verdict.latency_s,)

    def lottery(candidate: Candidate) -> tuple[float, ...]:
        # Exponential variables: the smallest is this one with a probability in proportion to its rate, 1/price^2.
        if candidate.price is None:
            return (math.inf,)
        return (-math.log(1.0 - draw()) * candidate.price**2,)

    def tier(candidate: Candidate) -> tuple[float, ...]:
        verdict = _verdict(group, candidate.key)
        return (float(TIER_RANK[Tier.INSUFFICIENT_DATA if verdict is None else verdict.tier]),)

    keys = {
        Sort.ORDER: listed,
        Sort.PRICE: price,
        Sort.THROUGHPUT: throughput,
        Sort.LATENCY: latency,
        Sort.PRICE_WEIGHTED: lottery,
    }
    return keys.get(policy.sort, tier)


def best_rank(policy: Policy, candidates: Sequence[Candidate], group: GroupSnapshot | None) -> tuple[float, ...]:
    """Return the key of the best candidate, to order model groups; smaller is better.

    Preferences count first, then the sort. Without candidates the key is infinite.
    """
    if not candidates:
        return (math.inf,)
    key_of = _sort_key(policy, group, lambda: 0.0)
    return min((float(preference_class(policy.preferences, one.key, group)), *key_of(one)) for one in candidates)
