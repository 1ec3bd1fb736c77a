"""Suffixes on aliases of a key, of its team, or in the settings of either.

The middleware cannot resolve these names, since they are known only with the key. They are resolved between
authentication and authorization: a key restricted to ``x`` with an alias ``mine`` for it may call ``mine:exacto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import Resolution, split_slug
from exacto_plugin.litellm_hooks.deployments.fallbacks import rewrite_fallbacks
from exacto_plugin.litellm_hooks.deployments.model_names import CLIENT_MODEL_KEY
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from exacto_plugin.litellm_hooks.deployments.fallbacks import Resolve
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.request.state import RequestState


def take_alias(data: dict[str, Any], key: Any, state: RequestState) -> None:
    """Resolve a suffixed alias after authorization.

    Needed on proxies whose own authentication does not resolve it.

    Args:
        data: the request, changed in place.
        key: LiteLLM's ``UserAPIKeyAuth``.
        state: the request's state.
    """
    model = data.get("model")
    if state.slugs.slug is not None or not isinstance(model, str) or ":" not in model:
        return
    aliases = {**(key.team_model_aliases or {}), **(key.aliases or {})}
    slug = split_slug(model, lambda name: Resolution.EXACT if name in aliases else Resolution.UNKNOWN)
    if slug.suffixes:
        data["model"] = aliases[slug.base]
        state.slugs.slug, state.slugs.requested = slug, model


def take_fallbacks(data: dict[str, Any], state: RequestState, resolve: Resolve) -> None:
    """Resolve the suffixes of fallbacks in a key's or team's settings.

    Args:
        data: the request, changed in place; LiteLLM's settings object itself is not changed.
        state: the request's state.
        resolve: resolves a name against the router.
    """
    settings = data.get("router_settings_override")
    if not isinstance(settings, dict):
        return
    fallbacks = settings.get("fallbacks")
    if isinstance(fallbacks, list) and fallbacks:
        state.fallbacks.has_own = True
        data["router_settings_override"] = {**settings, "fallbacks": rewrite_fallbacks(fallbacks, resolve)}


class KeyAliases:
    """Resolver of the names that one caller has.

    Args:
        faults: counts errors; after an error the request continues under the name that was sent.
        server: returns LiteLLM's proxy module.
    """

    def __init__(self, faults: FaultReporter, server: Callable[[], Any]) -> None:
        self.faults = faults
        self._server = server

    @fail_open("alias")
    async def take(self, request_data: dict[str, Any], key: Any, request: Any) -> None:
        """Strip the plugin's suffixes from the model when the rest is an alias.

        Only aliases of this caller are considered.

        Args:
            request_data: the parsed body, changed in place.
            key: LiteLLM's ``UserAPIKeyAuth``.
            request: the HTTP request; None outside of one.
        """
        state = CURRENT.get()
        model = request_data.get("model")
        if state is None or state.slugs.slug is not None or not isinstance(model, str) or ":" not in model:
            return
        if split_slug(model, lambda _name: Resolution.PATTERN).suffixes == ():
            return  # none of the plugin's suffixes, for any set of names
        aliases = await self._aliases(key)
        slug = split_slug(model, lambda name: Resolution.EXACT if name in aliases else Resolution.UNKNOWN)
        if not slug.suffixes:
            return
        from litellm.proxy.common_utils.http_parsing_utils import rewrite_request_model  # needs LiteLLM's proxy extra

        rewrite_request_model(request_data, request, slug.base)
        state.slugs.slug, state.slugs.requested = slug, model
        if request is not None:
            request.scope[CLIENT_MODEL_KEY] = model

    async def _aliases(self, key: Any) -> Collection[str]:
        server = self._server()
        settings: Mapping[str, Any] | None = await server.proxy_config.get_hierarchical_router_settings(
            user_api_key_dict=key, prisma_client=server.prisma_client, proxy_logging_obj=server.proxy_logging_obj
        )
        named = (settings or {}).get("model_group_alias")
        return {*(key.team_model_aliases or ()), *(key.aliases or ()), *(named if isinstance(named, dict) else ())}
