"""The plugin's steps within the compiled router's synchronous selection.

The counterpart of :mod:`.sync_selection`, which does the same where LiteLLM selects in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.compiled.router_methods import SYNC_FIELDS
from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.request.hops import metadata_of
from exacto_plugin.litellm_hooks.request.policy import without_our_keys
from exacto_plugin.litellm_hooks.request.state import SYNC
from exacto_plugin.litellm_hooks.routing.sync_selection import record_sync_attempt, run_sync

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.request.state import RequestState
    from exacto_plugin.litellm_hooks.routing.sync_selection import AttemptHooks


class RustSyncSelection:
    """One per process, without state.

    Args:
        hooks: the hooks that asynchronous requests go through.
        scores_early: returns whether an answer is assessed before its delivery.
        serves: returns whether a router's requests are routed by the plugin.
        on_failure: called with the error of a failed attempt.
        faults: reports errors of the plugin.
    """

    def __init__(
        self,
        hooks: AttemptHooks,
        scores_early: Callable[[RequestState], bool],
        serves: Callable[[Any], bool],
        on_failure: Callable[[Exception], object],
        faults: FaultReporter,
    ) -> None:
        self._hooks = hooks
        self._scores_early = scores_early
        self._serves = serves
        self._on_failure = on_failure
        self._faults = faults

    def filter(
        self, router: Any, group: str, candidates: Sequence[str], messages: Any, request: Mapping[str, Any]
    ) -> Sequence[str]:
        """Return the ids of an attempt's pool.

        Args:
            router: the router that selects.
            group: the model group.
            candidates: ids of its deployments that neither cool down nor are blocked.
            messages: of the request.
            request: the request as LiteLLM has it.

        Raises:
            ExactoRefusedError: a hard filter left nothing.
        """
        if not self._serves(router):
            return candidates
        view = router_view(router)
        healthy = [one for own_id in candidates if (one := view.deployment(own_id)) is not None]
        token = SYNC.set(True)
        try:
            kept = run_sync(
                self._hooks.async_filter_deployments(group, healthy, messages, {**request, **(SYNC_FIELDS.get() or {})})
            )
        finally:
            SYNC.reset(token)
        return [litellm_id(one) for one in kept]

    def begin(self, router: Any, step: Mapping[str, Any], request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Record the attempt that LiteLLM is about to make.

        Returns:
            The step without the plugin's keys.

        Raises:
            ExactoRefusedError: the deployment is forbidden.
        """
        if not self._serves(router):
            return step
        deployment: Mapping[str, Any] = step.get("deployment") or {}
        entry: Mapping[str, Any] = step.get("params") or {}
        metadata = {
            **metadata_of(request),
            "model_group": step.get("model"),
            "deployment_model_name": deployment.get("model_name"),
            "attempted_retries": step.get("retry"),
        }
        sent = {
            **request,
            **(SYNC_FIELDS.get() or {}),
            **entry,
            **(deployment.get("litellm_params") or {}),
            "model_info": deployment.get("model_info") or {},
            "metadata": metadata,
            "fallback_depth": step.get("fallback_depth"),
        }
        self._faults.guard(
            "pre_call", lambda: record_sync_attempt(self._hooks, self._scores_early, sent, request), None
        )
        passed = without_our_keys(dict(sent))
        return {**step, "params": {name: value for name, value in entry.items() if name in passed}} if entry else step

    def failed(self, error: BaseException | None) -> None:
        """Record the failure of the newest attempt."""
        if isinstance(error, Exception):
            self._faults.guard("score", lambda: self._on_failure(error), None)
