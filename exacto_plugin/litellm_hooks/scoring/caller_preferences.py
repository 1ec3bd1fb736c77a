"""Counting of callers' preferred and ignored providers on the response path.

The counts come from the policy of an answered request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.routing.filters import named_by
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.request.state import RequestState

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


def record_preferences(runtime: Runtime, state: object, caller: str) -> None:
    """Count the provider preferences of one answered request with tools.

    Args:
        runtime: of this process; only model groups that an operator configured are counted.
        state: of the request, where there is one.
        caller: salted hash of the API key in hexadecimal digits; empty when there is none.
    """
    if not isinstance(state, RequestState) or state.policy is None:
        return
    policy, group = state.policy, state.model_group
    if not runtime.knows_group(group):
        return
    key = int(caller[:16] or "0", 16)
    runtime.caller_preferences.record_call(group, key, runtime.clock())
    pins = policy.order or policy.only
    if not pins and not policy.ignore:
        return
    ignored, pinned, others = set[str](), set[str](), set[str]()
    for candidate in (candidate_of(deployment, group) for deployment in runtime.deployments_of(group)):
        if named_by(policy.ignore, candidate):
            ignored.add(candidate.provider)
        if named_by((*policy.order, *policy.only), candidate):
            pinned.add(candidate.provider)
        elif pins:
            others.add(candidate.provider)
    runtime.caller_preferences.record_preference(
        group, key, ignored=ignored, pinned=pinned, passed_over=others - pinned
    )
