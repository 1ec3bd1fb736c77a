"""Keeps a running conversation at its deployment: the last step of a decision.

Pure. A deployment with insufficient data loses new conversations only. A running conversation leaves a deployment
that is deranked, no longer available, or already tried by this request. Operator levels and the client's speed
preferences take precedence. A conversation whose content only one deployment can read (``AffinityTarget.pinned``)
never leaves it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.decision import Decision
from exacto_plugin.core.model import Mode, Sort
from exacto_plugin.core.routing.preferences import preference_class
from exacto_plugin.core.routing.tier_ranking import ranking_of

if TYPE_CHECKING:
    from exacto_plugin.core.model import Candidate, Snapshot
    from exacto_plugin.core.routing.ordering import RoutingRequest

_UNORDERED_SORTS = (Sort.AUTO, Sort.EXACTO, Sort.PRICE_WEIGHTED)
"""Sorts that give a best group and no full order.
A sort with a full order, such as ``price``, takes precedence over affinity."""


STAYS: Final = "affinity"
"""Reason of the decision for a conversation that stays at its deployment."""


def apply_affinity(ask: RoutingRequest, snapshot: Snapshot, decision: Decision) -> Decision:
    """Return ``decision`` with the conversation's deployment first where it may stay.

    Args:
        ask: the request, with ``home`` set for a running conversation.
        snapshot: the verdicts in force.
        decision: the decision for this attempt without affinity.
    """
    home = ask.home
    if home is None or decision.explored or ask.mode is Mode.OFF:
        return decision
    at = next((c for c in ask.candidates if c.id == home.id), None)
    if at is None or not (home.pinned or _is_allowed(ask, snapshot, at)):
        return decision
    ranking = ranking_of(ask.candidates, snapshot.groups.get(ask.model_group)).led_by(at, decision.ranking)
    pool = (at.id,)
    if ask.mode is Mode.OBSERVE or not ask.in_share:
        # Sorts apply in every mode; the effect of tiers and affinity is only recorded.
        return decision if decision.applied else replace(decision, ranking=ranking, preferred=pool)
    reason = "bound" if home.pinned else STAYS
    return Decision(decision.policy, ranking, pool, applied=True, reason=reason, preferred=pool)


def is_usable(ask: RoutingRequest, snapshot: Snapshot) -> bool:
    """Check that the assigned deployment is available, untried and in the best class.

    The class consists of the preferences met, deranked or not, and the operator's level.
    """
    home = ask.home
    at = next((c for c in ask.candidates if home is not None and c.id == home.id), None)
    return at is not None and _is_in_order(ask, snapshot, at)


def _is_allowed(ask: RoutingRequest, snapshot: Snapshot, at: Candidate) -> bool:
    policy = ask.policy
    if policy.sort not in _UNORDERED_SORTS or (policy.sort is Sort.PRICE_WEIGHTED and policy.explicit) or not at.caches:
        return False
    group = snapshot.groups.get(ask.model_group)
    if ask.home is not None and ask.home.is_new and group is not None and group.merge_tiers:
        # New conversations that begin alike are spread while the group is still being measured; if all of them went
        # to one deployment, there would be no measurements to compare it with.
        return False
    if ask.home is not None and ask.home.is_new and at.key in ask.busy:
        return False
    return _is_in_order(ask, snapshot, at)


def _is_in_order(ask: RoutingRequest, snapshot: Snapshot, at: Candidate) -> bool:
    group, preferences = snapshot.groups.get(ask.model_group), ask.policy.preferences
    ranking = ranking_of(ask.candidates, group)

    def standing(candidate: Candidate) -> tuple[int, bool, float]:
        return preference_class(preferences, candidate.key, group), *ranking.order(candidate)

    if at.id in ask.tried:
        return False
    if not preferences and not ask.tried:
        return ranking.order(at) == ranking.first
    return standing(at) == min(standing(c) for c in ask.candidates if c.id not in ask.tried)
