"""The routing of an answer as its client learns it: policy, tier, rescue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.request.state import RequestState


FACTS: Final = (
    "policy", "decision", "snapshot", "tier", "deployment", "provider", "rescue-attempts", "rescue-cost", "rescued",
)  # fmt: skip
"""Names of all facts."""


def answer_facts(state: RequestState, *, names: bool, complete: bool = True) -> dict[str, str | int | float]:
    """Return the facts of an answer, by the ends of their headers' names.

    A fact that may become wrong is omitted: LiteLLM can move a stream after it has begun.

    Args:
        state: of the request; with a policy.
        names: True to name deployments and providers.
        complete: False for a stream that has begun.
    """
    facts: dict[str, str | int | float] = {
        "policy": state.routing.reported_sort.value,
        "decision": state.decision_id,
        "snapshot": state.routing.snapshot_id,
    }
    served = state.answered_by
    if served is not None and (complete or not state.routing.may_move):
        facts["tier"] = "" if served.tier is None else served.tier.value
        if names:
            facts |= {"deployment": served.candidate.key, "provider": served.candidate.provider}
    rescuing = state.rescue
    if rescuing is not None and rescuing.attempts:
        facts["rescue-attempts"] = rescuing.attempts
        if rescuing.extra_cost is not None:
            facts["rescue-cost"] = rescuing.extra_cost
    if rescuing is not None and rescuing.answered_by not in (None, rescuing.replaced_attempt):
        facts["rescued"] = rescuing.replaced_attempt.candidate.key if names else "true"
    return {name: value for name, value in facts.items() if value != ""}
