"""One attempt's decision: ordering, probe budget and affinity together.

Reads a snapshot and changes only the probe budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.routing.affinity_rule import apply_affinity
from exacto_plugin.core.routing.ordering import decide, probe_shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.model import DeploymentKey, Snapshot
    from exacto_plugin.core.routing.ordering import RoutingRequest
    from exacto_plugin.core.routing.probe_budget import ProbeBudget


def decide_attempt(ask: RoutingRequest, snapshot: Snapshot, budget: ProbeBudget, draw: Callable[[], float]) -> Decision:
    """Order the candidates of one attempt and charge a probe to the budget.

    A probe that starts a conversation is charged all of its turns while the deployment is still being measured.
    """
    group, shares = ask.model_group, probe_shares(ask, snapshot)
    if not shares:
        return apply_affinity(ask, snapshot, decide(ask, snapshot, draw))
    budget.accrue(group, sum(shares.values()))
    if ask.in_conversation:
        budget.skip(group)
        ordered = decide(ask, snapshot, draw)
    else:
        skipped = budget.take_skipped(group)

        def may_probe(key: DeploymentKey) -> bool:
            return key not in ask.busy and budget.allows(snapshot, group, key)

        ordered = decide(ask, snapshot, draw, may_probe, skipped)
    decision = apply_affinity(ask, snapshot, ordered)
    goes_on = ask.home is not None and ask.home.from_probe and decision.pool == (ask.home.id,)
    if decision.explored or goes_on:
        key = next(ranked.key for ranked in decision.ranking if ranked.id in decision.pool)
        if key in shares:
            budget.charge(group, key)
    return decision
