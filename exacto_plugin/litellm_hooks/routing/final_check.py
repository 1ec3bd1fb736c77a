"""The last moment before a deployment is called: what the operator rules out is not called, whatever led there.

Most requests had their filters applied to their model group before. A deployment that is named by its id had none, and
under LiteLLM's older strategies no group has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.filters import blocking_filters
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.parameters import informed
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, no_endpoints, refused_by
from exacto_plugin.litellm_hooks.request.body import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.request.operator_limits import limits_of, picked_of, promised

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from exacto_plugin.core.routing.policy import Policy
    from exacto_plugin.litellm_hooks.request.key_defaults import KeyDefaults
    from exacto_plugin.litellm_hooks.request.state import RequestState
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

    PolicyOf = Callable[[str, RequestState, Mapping[str, Any]], Policy]


class FinalCheck:
    """Refuses what may not be called. One per process, no state of its own.

    Args:
        runtime: of this process.
        callers: reads what keys and teams bring.
        policy: what an attempt at a model group was asked to do; raises ExactoRefusedError for malformed wishes.
    """

    def __init__(self, runtime: Runtime, callers: KeyDefaults, policy: PolicyOf) -> None:
        self._runtime = runtime
        self._callers = callers
        self._policy = policy

    def keep(self, state: RequestState, kwargs: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Let a call pass, or refuse it.

        Args:
            state: of the request.
            kwargs: what LiteLLM is about to call a deployment with.
            metadata: of the request.

        Raises:
            ExactoRefusedError: the deployment may not be called, or there are limits and nobody can tell.
        """
        runtime, asked = self._runtime, str(metadata.get("model_group") or "")
        try:
            if runtime.faults.guard("filter", lambda: self._passes(state, kwargs, metadata, asked), False):
                return
            groups = (asked, str(metadata.get("deployment_model_name") or ""))
            promise = runtime.faults.guard("filter", lambda: promised(runtime.settings, groups, kwargs), None)
            if promise is not None:
                raise ExactoRefusedError(no_endpoints(asked, promise, "could not be evaluated", ()), asked)
        except ExactoRefusedError as error:
            state.refusals.append(error.refusal)
            state.model_group = state.model_group or str(metadata.get("deployment_model_name") or asked)
            runtime.faults.guard("record", lambda: runtime.recorder.record_refusal(state), None)
            raise

    def _passes(self, state: RequestState, kwargs: Mapping[str, Any], metadata: Mapping[str, Any], asked: str) -> bool:
        """True; what does not pass is refused."""
        settings = self._runtime.settings
        picked = picked_of(self._runtime, kwargs, metadata)
        if picked is None:
            return True
        filters = limits_of(settings, self._callers.of(kwargs), picked.groups)
        unasked = not picked.named and (state.policy is None or _is_another_hop(state, kwargs))
        if unasked:
            wished = self._policy(picked.groups[-1] if picked.groups else asked, state, kwargs).filters
            filters = (*wished, *(one for one in filters if one not in wished))
        if not filters:
            return True
        # What the filters of this attempt were applied to is known.
        known = None if picked.named else state.candidates.get(picked.id)
        candidate = known or candidate_of(picked.deployment, asked)
        ruled_out_by = blocking_filters(filters, [informed(candidate, kwargs) if unasked else candidate])
        if ruled_out_by:
            raise refused_by(ruled_out_by, asked or candidate.key, [candidate], None, expose=settings.expose.providers)
        return True


def _is_another_hop(state: RequestState, kwargs: Mapping[str, Any]) -> bool:
    """Whether the call is made for another fallback entry than the one that the filters were applied for.

    Since LiteLLM 1.110 only the call tells for certain which entry a hop asks.
    """
    suffixes = kwargs.get(SUFFIXES_KEY)
    return isinstance(suffixes, str) and state.series is not None and suffixes != (state.series[1] or "")


def nobody_was_called(details: MutableMapping[str, Any]) -> None:
    """Take the deployment out of what LiteLLM tells of a call that was refused.

    LiteLLM would count the refusal as its failure, and as a request of its limits: a key that may not call a deployment
    could keep others from it.

    Args:
        details: LiteLLM's ``model_call_details``, changed in place.
    """
    params = details.get("litellm_params")
    if isinstance(params, dict):
        details["litellm_params"] = {**params, "model_info": {}}
