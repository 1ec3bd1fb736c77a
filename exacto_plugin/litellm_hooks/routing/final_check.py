"""The last check before a deployment is called: applies the operator's limits.

Most requests had their filters applied to their model group before. A deployment that is named by its id was not
filtered, nor is any model group under LiteLLM's older strategies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.filters import blocking_filters
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.deployments.parameters import informed
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, no_endpoints, refused_by
from exacto_plugin.litellm_hooks.request.operator_limits import limits_of, picked_of, promised

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from exacto_plugin.core.routing.policy import Policy
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.request.key_defaults import KeyDefaults
    from exacto_plugin.litellm_hooks.request.state import RequestState
    from exacto_plugin.litellm_hooks.runtime.recorder import Recorder

    PolicyOf = Callable[[str, RequestState, Mapping[str, Any]], Policy]


class FinalCheck:
    """The refusal of forbidden deployments. One per process, without state.

    Args:
        context: of this process.
        routers: have the deployments.
        recorder: records a refusal.
        callers: reads the metadata of keys and teams.
        policy: returns the policy of an attempt at a model group; raises ExactoRefusedError for malformed preferences.
    """

    def __init__(
        self, context: Context, routers: Routers, recorder: Recorder, callers: KeyDefaults, policy: PolicyOf
    ) -> None:
        self._context = context
        self._routers = routers
        self._recorder = recorder
        self._callers = callers
        self._policy = policy

    def keep(self, state: RequestState, kwargs: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Refuse the call if the deployment is forbidden.

        Args:
            state: of the request.
            kwargs: the arguments of LiteLLM's call to a deployment.
            metadata: of the request.

        Raises:
            ExactoRefusedError: the deployment is forbidden, or there are limits that could not be evaluated.
        """
        context, asked = self._context, str(metadata.get("model_group") or "")
        try:
            if context.faults.guard("filter", lambda: self._passes(state, kwargs, metadata, asked), False):
                return
            groups = (asked, str(metadata.get("deployment_model_name") or ""))
            promise = context.faults.guard("filter", lambda: promised(context.settings, groups, kwargs), None)
            if promise is not None:
                raise ExactoRefusedError(no_endpoints(asked, promise, "could not be evaluated", ()), asked)
        except ExactoRefusedError as error:
            state.routing.refusals.append(error.refusal)
            state.model_group = state.model_group or str(metadata.get("deployment_model_name") or asked)
            context.faults.guard("record", lambda: self._recorder.record_refusal(state), None)
            refusal = error.refusal
            context.faults.guard("telemetry", lambda: context.telemetry.refusal(asked, refusal.filter_name), None)
            raise

    def _passes(self, state: RequestState, kwargs: Mapping[str, Any], metadata: Mapping[str, Any], asked: str) -> bool:
        """Return True for an allowed call; refuse any other."""
        settings, caller = self._context.settings, self._callers.of(kwargs)
        is_new = state.routing.policy is None or _is_another_hop(state, kwargs)
        if not (is_new or caller.filters or settings.has_limits):
            return True
        picked = picked_of(self._routers, settings, kwargs, metadata)
        if picked is None:
            return True
        filters = limits_of(settings, caller, picked.groups)
        unasked = is_new and not picked.named
        if unasked:
            wished = self._policy(picked.groups[-1] if picked.groups else asked, state, kwargs).filters
            filters = (*wished, *(one for one in filters if one not in wished))
        if not filters:
            return True
        # The deployments that this attempt's filters were applied to are known.
        known = None if picked.named else state.routing.candidates.get(picked.id)
        candidate = known or candidate_of(picked.deployment, asked)
        ruled_out_by = blocking_filters(filters, [informed(candidate, kwargs) if unasked else candidate])
        if ruled_out_by:
            raise refused_by(ruled_out_by, asked or candidate.key, [candidate], None, expose=settings.expose.providers)
        return True


def _is_another_hop(state: RequestState, kwargs: Mapping[str, Any]) -> bool:
    """Return whether the call is for another fallback entry than its filters.

    Since LiteLLM 1.110 only the call contains the fallback entry for certain.
    """
    suffixes = kwargs.get(SUFFIXES_KEY)
    return isinstance(suffixes, str) and state.series.key is not None and suffixes != (state.series.key[1] or "")


def nobody_was_called(details: MutableMapping[str, Any]) -> None:
    """Remove the deployment from LiteLLM's details of a refused call.

    LiteLLM would count the refusal as the deployment's failure, and as a request of its limits: a key that may not call
    a deployment could block it for others.

    Args:
        details: LiteLLM's ``model_call_details``, changed in place.
    """
    params = details.get("litellm_params")
    if isinstance(params, dict):
        details["litellm_params"] = {**params, "model_info": {}}
