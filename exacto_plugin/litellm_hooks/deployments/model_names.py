"""Resolution of model names against a live ``litellm.Router``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import Resolution
from exacto_plugin.litellm_hooks.deployments.router_view import router_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.litellm_hooks.deployments.router_view import RouterView


CLIENT_MODEL_KEY = "litellm.client_requested_model"
"""Key in the ASGI scope of the model name that LiteLLM puts into the answer."""


def name_resolver(router: Any) -> Callable[[str], Resolution]:
    """Return a function that resolves a name against ``router``.

    Exact names are model names, aliases, ids and team names; a wildcard matches as a pattern.
    """

    view = router_view(router)

    def resolve(name: str) -> Resolution:
        if not name:
            return Resolution.UNKNOWN
        if view.knows(name):
            return Resolution.EXACT
        return Resolution.PATTERN if _pattern_matches(view, name) else Resolution.UNKNOWN

    return resolve


def _pattern_matches(view: RouterView, name: str) -> bool:
    """Return whether a wildcard serves ``name`` and the suffix can be stripped.

    OpenRouter supports ``:exacto``, ``:floor`` and ``:nitro``, so the slug is kept where a wildcard has only OpenRouter
    deployments.
    """
    deployments = view.by_pattern(name)
    if deployments:
        return any(not is_openrouter(deployment) for deployment in deployments)
    return view.setting("default_deployment") is not None


def leads_to_openrouter(router: Any, name: str) -> bool:
    """Return whether a name is served only through OpenRouter.

    OpenRouter applies the client's preferences itself.
    """
    view = router_view(router)
    pinned = view.deployment(name)
    deployments = [pinned] if pinned else view.deployments(name)
    return bool(deployments) and all(is_openrouter(deployment) for deployment in deployments)


def is_openrouter(deployment: Mapping[str, Any]) -> bool:
    """Return whether a deployment is served through OpenRouter."""
    params = deployment.get("litellm_params") or {}
    model = params.get("model")
    return params.get("custom_llm_provider") == "openrouter" or (
        isinstance(model, str) and model.startswith("openrouter/")
    )
