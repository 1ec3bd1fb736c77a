"""Which model names exist for LiteLLM: resolves slugs against a live ``litellm.Router``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import Resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


CLIENT_MODEL_KEY = "litellm.client_requested_model"
"""Where LiteLLM looks up, in the ASGI scope, which model name the answer should carry."""


def name_resolver(router: Any) -> Callable[[str], Resolution]:
    """A function that tells how ``router`` knows a name: as a name, alias, id, team name, or through a wildcard."""

    def resolve(name: str) -> Resolution:
        if not name:
            return Resolution.UNKNOWN
        known = router.is_recognized_model(name)
        if known or name in router.team_public_model_names or name in router.deployment_names:
            return Resolution.EXACT
        return Resolution.PATTERN if _pattern_matches(router, name) else Resolution.UNKNOWN

    return resolve


def _pattern_matches(router: Any, name: str) -> bool:
    """Whether a wildcard serves ``name`` with at least one deployment that does not read the suffix itself.

    OpenRouter knows ``:exacto``, ``:floor`` and ``:nitro``, so a wildcard that only leads there keeps the slug whole.
    """
    # Asked first because LiteLLM's look-up costs more than the rest of the middleware, also when there is no wildcard.
    patterns = router.pattern_router.patterns
    deployments = (router.pattern_router.get_deployments_by_pattern(model=name) or []) if patterns else []
    if deployments:
        return any(not is_openrouter(deployment) for deployment in deployments)
    return router.default_deployment is not None


def leads_to_openrouter(router: Any, name: str) -> bool:
    """Whether a name is served through OpenRouter alone, which reads the client's preferences itself."""
    pinned = router.get_model_info(id=name)
    deployments = [pinned] if pinned else router.get_model_list(model_name=name) or ()
    return bool(deployments) and all(is_openrouter(deployment) for deployment in deployments)


def is_openrouter(deployment: Mapping[str, Any]) -> bool:
    """Whether a deployment is itself served through OpenRouter."""
    params = deployment.get("litellm_params") or {}
    model = params.get("model")
    return params.get("custom_llm_provider") == "openrouter" or (
        isinstance(model, str) and model.startswith("openrouter/")
    )
