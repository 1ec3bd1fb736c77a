"""Orders the deployments of one attempt and returns a Decision.

Input: candidates, snapshot, policy and the deployments already tried. Pure and total: every non-empty list of
candidates gives a non-empty pool out of that list. The pool holds the deployments that may be picked now; LiteLLM's
own routing strategy picks inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from exacto_plugin.core.decision import Decision, Ranked
from exacto_plugin.core.model import (
    Candidate,
    DeploymentKey,
    GroupSnapshot,
    LiteLLMId,
    Mode,
    Snapshot,
    Sort,
    Tier,
    Verdict,
)
from exacto_plugin.core.routing.filters import NamedList
from exacto_plugin.core.routing.preferences import preference_class, preference_classes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from exacto_plugin.core.decision import AffinityTarget
    from exacto_plugin.core.routing.policy import Policy

TIER_RANK: Mapping[Tier, int] = {tier: rank for rank, tier in enumerate(Tier)}
"""Position of each tier in the order; 0 is tried first."""

MayProbe = Callable[[DeploymentKey], bool]
"""Returns True if a probe of a deployment is within its budget."""

_LAST_LEVEL = math.inf
"""Level of deployments without ``order``: they come last.
LiteLLM ignores them while a deployment with ``order`` is available."""


@dataclass(frozen=True, slots=True)
class RoutingRequest:
    """The input of one attempt's decision."""

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
    group = snapshot.groups.get(ask.model_group)
    if sort is Sort.AUTO and not ask.tools:
        return _unordered(ask, group, "no_tools")
    if sort is Sort.NONE:
        return _unordered(ask, group, "no_sort")
    if sort in (Sort.AUTO, Sort.EXACTO):
        return _by_tier(ask, snapshot, draw, may_probe, passed)
    return _by_sort(ask, group, draw)


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


def _unordered(ask: RoutingRequest, group: GroupSnapshot | None, reason: str) -> Decision:
    """Return a decision without an order; the ranking still has the tiers."""
    ranking = tuple(Ranked(c.id, c.key, 0, _tier(group, c.key)) for c in ask.candidates)
    return Decision(ask.policy.sort, ranking, tuple(c.id for c in ask.candidates), applied=False, reason=reason)


def _verdict(group: GroupSnapshot | None, key: DeploymentKey) -> Verdict | None:
    return group.verdicts.get(key) if group is not None else None


def _tier(group: GroupSnapshot | None, key: DeploymentKey) -> Tier:
    verdict = _verdict(group, key)
    return Tier.INSUFFICIENT_DATA if verdict is None else verdict.tier


def _rank_by(
    ask: RoutingRequest, group: GroupSnapshot | None, key_of: Callable[[Candidate], tuple[float, ...]]
) -> list[Ranked]:
    """Return dense ranks by ``key_of``, ascending; ties keep the candidates' order."""
    keys = {c.id: key_of(c) for c in ask.candidates}
    rank_of = {key: rank for rank, key in enumerate(sorted(set(keys.values())))}
    ranked = [Ranked(c.id, c.key, rank_of[keys[c.id]], _tier(group, c.key)) for c in ask.candidates]
    ranked.sort(key=lambda r: r.rank)
    return ranked


def _best(ranked: Sequence[Ranked], tried: Collection[LiteLLMId]) -> tuple[tuple[LiteLLMId, ...], bool]:
    """Return the ids of the best untried rank (of all if everything was tried)."""
    left = [r for r in ranked if r.id not in tried] if tried else ranked
    fresh = bool(left)
    left = left or ranked
    if not left:
        return (), fresh
    best = left[0].rank
    return tuple(r.id for r in left if r.rank == best), fresh


def level_of(candidate: Candidate) -> float:
    """Return the operator's level of a deployment; lower levels come first."""
    return _LAST_LEVEL if candidate.level is None else float(candidate.level)


def _tier_ranks(
    ask: RoutingRequest, group: GroupSnapshot | None, draw: Callable[[], float]
) -> dict[DeploymentKey, int]:
    """Return the rank of each deployment's tier, with merged tiers drawn at random.

    While tiers are merged, deployments with insufficient data join the best tier with their keep probability. If no
    deployment at an ``order`` level would be in the best tier, the deployments with the highest keep probability are
    promoted to it.
    """
    verdicts = {c.key: _verdict(group, c.key) for c in ask.candidates}
    places = {key: TIER_RANK[verdict.tier if verdict else Tier.INSUFFICIENT_DATA] for key, verdict in verdicts.items()}
    if group is None or not group.merge_tiers or ask.rescue:
        return places
    chances = {
        key: verdict.keep_probability if verdict else 1.0
        for key, verdict in verdicts.items()
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


def probe_shares(ask: RoutingRequest, snapshot: Snapshot) -> dict[DeploymentKey, float]:
    """Return the probability of a probe by this attempt for each deployment key.

    Only positive probabilities are returned; budgets are checked elsewhere. The share that running conversations
    cannot use is added to new ones. A deployment at a later operator level is not probed while an earlier level can
    serve.
    """
    group = snapshot.groups.get(ask.model_group)
    if group is None or not _may_explore(ask):
        return {}
    verdicts = {c.id: _verdict(group, c.key) for c in ask.candidates}
    serving = [level_of(c) for c in ask.candidates if not _is_deranked(verdicts[c.id])]
    reached = min(serving, default=_LAST_LEVEL)
    return {
        c.key: verdict.probe_share
        for c in ask.candidates
        if level_of(c) <= reached and (verdict := verdicts[c.id]) is not None and verdict.probe_share > 0
    }


def _is_deranked(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.tier is Tier.DERANKED


def _probed(
    ask: RoutingRequest,
    snapshot: Snapshot,
    draw: Callable[[], float],
    may_probe: MayProbe,
    passed: int,
) -> tuple[LiteLLMId, ...]:
    """Draw the deployment that this attempt probes; return its ids, or none.

    Only new conversations are probed. A conversation sent to a deranked deployment leaves it at the next turn, so its
    probability includes the turns that were skipped; at any other deployment the conversation stays.
    """
    shares = {} if ask.in_conversation else probe_shares(ask, snapshot)
    chance = draw() if shares else 1.0
    for key, share in shares.items():
        leaves = _is_deranked(_verdict(snapshot.groups.get(ask.model_group), key))
        chance -= share * (1 + passed) if leaves else share
        if chance < 0:
            level = min(level_of(c) for c in ask.candidates if c.key == key)
            ids = tuple(c.id for c in ask.candidates if c.key == key and level_of(c) == level)
            return ids if may_probe(key) else ()
    return ()


def _by_tier(
    ask: RoutingRequest,
    snapshot: Snapshot,
    draw: Callable[[], float],
    may_probe: MayProbe,
    passed: int,
) -> Decision:
    """Order by operator level, then tier; deranked deployments come after all levels."""
    if ask.mode is Mode.OFF:
        return _unordered(ask, snapshot.groups.get(ask.model_group), "mode_off")
    group = snapshot.groups.get(ask.model_group)
    places = _tier_ranks(ask, group, draw)

    def key_of(candidate: Candidate) -> tuple[float, ...]:
        place = places[candidate.key]
        return (float(place == TIER_RANK[Tier.DERANKED]), level_of(candidate), float(place))

    ranked = _rank_by(ask, group, key_of)
    pool, fresh = _best(ranked, ask.tried)
    reason = "tried_all" if not fresh else "one_tier" if len(pool) == len(ask.candidates) else "tiers"
    if fresh and ask.busy:
        available, others = _best(ranked, (*ask.tried, *(one.id for one in ranked if one.key in ask.busy)))
        pool, reason = (available, "rate_limited") if others and available != pool else (pool, reason)
    if ask.mode is Mode.OBSERVE or not ask.in_share:
        everyone = tuple(c.id for c in ask.candidates)
        observed = "observe" if ask.mode is Mode.OBSERVE else "share"
        return Decision(ask.policy.sort, tuple(ranked), everyone, applied=False, reason=observed, preferred=pool)
    probed = _probed(ask, snapshot, draw, may_probe, passed)
    if probed and not set(probed) >= set(pool):
        return Decision(ask.policy.sort, tuple(ranked), probed, True, "probe", preferred=pool, explored=True)
    return Decision(ask.policy.sort, tuple(ranked), pool, applied=True, reason=reason, preferred=pool)


def _by_sort(ask: RoutingRequest, group: GroupSnapshot | None, draw: Callable[[], float]) -> Decision:
    """Order fully by the client's list, price, speed or lottery; unknown values last."""
    ranked = _rank_by(ask, group, _sort_key(ask.policy, group, draw))
    pool, fresh = _best(ranked, ask.tried)
    return Decision(
        ask.policy.sort, tuple(ranked), pool, applied=True, reason="sort" if fresh else "tried_all", preferred=pool
    )


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
        return (float(TIER_RANK[_tier(group, candidate.key)]),)

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
