"""Resolution of model names against a live ``litellm.Router``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import Resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


CLIENT_MODEL_KEY = "litellm.client_requested_model"
"""Key in the ASGI scope of the model name that LiteLLM puts into the answer."""


def name_resolver(router: Any) -> Callable[[str], Resolution]:
    """Return a function that resolves a name against ``router``.

    Exact names are model names, aliases, ids and team names; a wildcard matches as a pattern.
    """

    def resolve(name: str) -> Resolution:
        if not name:
            return Resolution.UNKNOWN
        known = router.is_recognized_model(name)
        if known or name in router.team_public_model_names or name in router.deployment_names:
            return Resolution.EXACT
        return Resolution.PATTERN if _pattern_matches(router, name) else Resolution.UNKNOWN

    return resolve


def _pattern_matches(router: Any, name: str) -> bool:
    """Return whether a wildcard serves ``name`` and the suffix can be stripped.

    OpenRouter supports ``:exacto``, ``:floor`` and ``:nitro``, so the slug is kept where a wildcard has only OpenRouter
    deployments.
    """
    # Checked first, because LiteLLM's lookup costs more than the rest of the middleware, also without a wildcard.
    patterns = router.pattern_router.patterns
    deployments = (router.pattern_router.get_deployments_by_pattern(model=name) or []) if patterns else []
    if deployments:
        return any(not is_openrouter(deployment) for deployment in deployments)
    return router.default_deployment is not None


def leads_to_openrouter(router: Any, name: str) -> bool:
    """Return whether a name is served only through OpenRouter.

    OpenRouter applies the client's preferences itself.
    """
    pinned = router.get_model_info(id=name)
    deployments = [pinned] if pinned else router.get_model_list(model_name=name) or ()
    return bool(deployments) and all(is_openrouter(deployment) for deployment in deployments)


def is_openrouter(deployment: Mapping[str, Any]) -> bool:
    """Return whether a deployment is served through OpenRouter."""
    params = deployment.get("litellm_params") or {}
    model = params.get("model")
    return params.get("custom_llm_provider") == "openrouter" or (
        isinstance(model, str) and model.startswith("openrouter/")
    )
