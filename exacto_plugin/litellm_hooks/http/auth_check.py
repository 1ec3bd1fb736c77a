"""Check of a request after authentication and before LiteLLM's authorization.

The limits of key and team are enforced here where LiteLLM routes without the filter hook. That is token counting:
LiteLLM selects a deployment for it, calls no hook, and may send the prompt to it. A deployment that such a request
names is therefore checked here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.http.model_routes import path_model
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.key_defaults import SOURCES
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.request.key_aliases import KeyAliases
    from exacto_plugin.litellm_hooks.request.state import RequestState
    from exacto_plugin.litellm_hooks.routing.final_check import FinalCheck

_COUNTS: Final = re.compile(r"(?:/messages/count_tokens|/responses/input_tokens|:countTokens)/?$")
_HELD: Final = ("metadata", "team_metadata")
"""Attributes of LiteLLM's key object for the names in ``SOURCES``, in order."""


class AuthenticatedRequestCheck:
    """Check of each proxy request with its key. One per process, stateless.

    Args:
        faults: of this process.
        routers: have the deployments.
        final_check: checks the named deployment.
        names: resolves the aliases that only this caller has.
    """

    def __init__(self, faults: FaultReporter, routers: Routers, final_check: FinalCheck, names: KeyAliases) -> None:
        self._faults = faults
        self._routers = routers
        self._final_check = final_check
        self._names = names

    async def take(self, request_data: dict[str, Any], key: Any, request: Any) -> None:
        """Process one authenticated request.

        Args:
            request_data: the parsed body, changed in place.
            key: LiteLLM's ``UserAPIKeyAuth``.
            request: the HTTP request; None outside of one.

        Raises:
            ProxyException: the named deployment must not count tokens for this caller; the middleware sends the reason.
        """
        state, faults = CURRENT.get(), self._faults
        if state is not None:
            faults.guard("filter", lambda: _keep_caller(state, key), None)
        await self._names.take(request_data, key, request)
        try:
            if state is not None and request is not None:
                faults.guard("filter", lambda: self._check(state, request_data, request.scope), None)
        except ExactoRefusedError as error:
            from litellm.proxy._types import ProxyException  # needs LiteLLM's proxy extra

            refusal = error.refusal
            raise ProxyException(refusal.marked, refusal.type, refusal.param, error.status_code) from None

    def _check(self, state: RequestState, request_data: Mapping[str, Any], scope: Mapping[str, Any]) -> None:
        """Refuse token counting by a named deployment that the limits exclude."""
        path = scope["path"]
        if _COUNTS.search(path) is None:
            return
        in_path = path_model(path, scope.get("root_path", ""))
        model = in_path.model if in_path is not None else request_data.get("model")
        for router in self._routers.live:
            view = router_view(router)
            if isinstance(model, str) and model not in view.model_names and view.has_id(model):
                self._final_check.keep(state, {"model_info": {"id": model}}, {"model_group": model})


def _keep_caller(state: RequestState, key: Any) -> None:
    state.caller = {name: getattr(key, held, None) for (name, _), held in zip(SOURCES, _HELD, strict=True)}
