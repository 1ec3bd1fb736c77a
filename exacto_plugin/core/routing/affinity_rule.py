"""Keeps a running conversation at its deployment: the last step of an attempt's decision.

Pure. A soft verdict (insufficient data) moves new conversations only; a running one leaves a deployment that is
deranked, not available any more, or was tried by this request in vain. The operator's levels stand, and so do the
client's wishes about speed. What only one deployment can read (``AffinityTarget.pinned``) never leaves it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from exacto_plugin.core.model import Mode, Ranked, Sort, Tier
from exacto_plugin.core.routing.ordering import level_of
from exacto_plugin.core.routing.preferences import preference_class

if TYPE_CHECKING:
    from exacto_plugin.core.model import Candidate, Decision, Snapshot
    from exacto_plugin.core.routing.ordering import RoutingRequest

_UNORDERED_SORTS = (Sort.AUTO, Sort.EXACTO, Sort.PRICE_WEIGHTED)
"""What says who comes first and not in which order all stand; ``price`` and the like do, and so override a stay."""


def apply_affinity(ask: RoutingRequest, snapshot: Snapshot, decision: Decision) -> Decision:
    """``decision``, with the conversation's own deployment first when it may stay there.

    Args:
        ask: the question, with ``home`` set for a running conversation.
        snapshot: the verdicts in force.
        decision: what the attempt would get without a conversation.
    """
    home = ask.home
    if home is None or decision.explored or ask.mode is Mode.OFF:
        return decision
    at = next((c for c in ask.candidates if c.id == home.id), None)
    if at is None or not (home.pinned or _is_allowed(ask, snapshot, at)):
        return decision
    verdict = snapshot.verdict(ask.model_group, at.key)
    first = Ranked(at.id, at.key, 0, verdict.tier if verdict is not None else Tier.INSUFFICIENT_DATA)
    ranking = (first, *(replace(r, rank=r.rank + 1) for r in decision.ranking if r.id != at.id))
    pool = (at.id,)
    if ask.mode is Mode.OBSERVE or not ask.in_share:
        # Sorts hold in every mode; what tiers and conversations would have done is only written down.
        return decision if decision.applied else replace(decision, ranking=ranking, preferred=pool)
    reason = "bound" if home.pinned else "affinity"
    return replace(decision, ranking=ranking, pool=pool, applied=True, reason=reason, preferred=pool)


def is_usable(ask: RoutingRequest, snapshot: Snapshot) -> bool:
    """Whether the conversation's deployment is there and serves as well as any: neither deranked nor tried in vain."""
    home = ask.home
    at = next((c for c in ask.candidates if home is not None and c.id == home.id), None)
    return at is not None and _is_in_order(ask, snapshot, at)


def _is_allowed(ask: RoutingRequest, snapshot: Snapshot, at: Candidate) -> bool:
    policy = ask.policy
    if policy.sort not in _UNORDERED_SORTS or (policy.sort is Sort.PRICE_WEIGHTED and policy.explicit) or not at.caches:
        return False
    group = snapshot.groups.get(ask.model_group)
    if ask.home is not None and ask.home.is_new and group is not None and group.merge_tiers:
        # One of many that begin alike, while the group is still being measured: all of them at one deployment would
        # leave nothing to compare it with.
        return False
    return _is_in_order(ask, snapshot, at)


def _is_in_order(ask: RoutingRequest, snapshot: Snapshot, at: Candidate) -> bool:
    group, wishes = snapshot.groups.get(ask.model_group), ask.policy.preferences

    def standing(candidate: Candidate) -> tuple[int, bool, float]:
        verdict = snapshot.verdict(ask.model_group, candidate.key)
        deranked = verdict is not None and verdict.tier is Tier.DERANKED
        return preference_class(wishes, candidate.key, group) if wishes else 0, deranked, level_of(candidate)

    if at.id in ask.tried:
        return False
    return standing(at) == min(standing(c) for c in ask.candidates if c.id not in ask.tried)
