"""Counting of callers' preferred and ignored providers on the response path.

The counts come from the policy of an answered request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.routing.filters import NamedList
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.request.state import RequestState

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.core.routing.caller_preferences import CallerPreferences
    from exacto_plugin.litellm_hooks.deployments.routers import Routers


class PreferenceCounter:
    """The counter of callers' preferences. One per process.

    Args:
        clock: UTC seconds.
        routers: only model groups that an operator configured are counted.
        counts: gets the numbers.
    """

    def __init__(self, clock: Callable[[], float], routers: Routers, counts: CallerPreferences) -> None:
        self._clock = clock
        self._routers = routers
        self._counts = counts

    def record(self, state: object, caller: str) -> None:
        """Count the provider preferences of one answered request with tools.

        Args:
            state: of the request, where there is one.
            caller: salted hash of the API key in hexadecimal digits; empty when there is none.
        """
        if not isinstance(state, RequestState) or state.routing.policy is None:
            return
        policy, group = state.routing.policy, state.model_group
        if not self._routers.knows_group(group):
            return
        key = int(caller[:16] or "0", 16)
        self._counts.record_call(group, key, self._clock())
        pins = policy.order or policy.only
        if not pins and not policy.ignore:
            return
        unwanted, wanted = NamedList(policy.ignore), NamedList((*policy.order, *policy.only))
        ignored, pinned, others = set[str](), set[str](), set[str]()
        for candidate in (candidate_of(deployment, group) for deployment in self._routers.deployments_of(group)):
            if unwanted.names(candidate):
                ignored.add(candidate.provider)
            if wanted.names(candidate):
                pinned.add(candidate.provider)
            elif pins:
                others.add(candidate.provider)
        self._counts.record_preference(group, key, ignored=ignored, pinned=pinned, passed_over=others - pinned)
