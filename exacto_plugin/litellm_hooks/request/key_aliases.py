"""Suffixes on names that only one caller has: aliases of a key, of its team, or in the settings of either.

The middleware cannot know them, for they come with the key. So they are resolved between authentication and
authorization: a key restricted to ``x`` with an alias ``mine`` for it may call ``mine:exacto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import Resolution, split_slug
from exacto_plugin.litellm_hooks.deployments.model_names import CLIENT_MODEL_KEY
from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.request.body import rewrite_fallbacks
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.request.body import Resolve
    from exacto_plugin.litellm_hooks.request.state import RequestState


def take_alias(data: dict[str, Any], key: Any, state: RequestState) -> None:
    """Resolve a suffixed alias after authorization, for proxies whose own authentication leaves that out.

    Args:
        data: the request, changed in place.
        key: LiteLLM's ``UserAPIKeyAuth``.
        state: the request's state.
    """
    model = data.get("model")
    if state.slug is not None or not isinstance(model, str) or ":" not in model:
        return
    aliases = {**(key.team_model_aliases or {}), **(key.aliases or {})}
    slug = split_slug(model, lambda name: Resolution.EXACT if name in aliases else Resolution.UNKNOWN)
    if slug.suffixes:
        data["model"] = aliases[slug.base]
        state.slug, state.requested = slug, model


def take_fallbacks(data: dict[str, Any], state: RequestState, resolve: Resolve) -> None:
    """Give fallbacks that a key's or team's own settings bring their suffixes' meaning.

    Args:
        data: the request, changed in place; the settings themselves are LiteLLM's and stay as they are.
        state: the request's state.
        resolve: how a name is known to the router.
    """
    settings = data.get("router_settings_override")
    if not isinstance(settings, dict):
        return
    fallbacks = settings.get("fallbacks")
    if isinstance(fallbacks, list) and fallbacks:
        state.fallbacks = True
        data["router_settings_override"] = {**settings, "fallbacks": rewrite_fallbacks(fallbacks, resolve)}


class KeyAliases:
    """Resolves the names of one caller.

    Args:
        faults: counts what goes wrong; the request then goes on under the name that was sent.
        server: gives LiteLLM's proxy module.
    """

    def __init__(self, faults: FaultReporter, server: Callable[[], Any]) -> None:
        self.faults = faults
        self._server = server

    @fail_open("alias")
    async def take(self, request_data: dict[str, Any], key: Any, request: Any) -> None:
        """Strip our suffixes off the request's model when what is left is an alias of this caller.

        Args:
            request_data: the parsed body, changed in place.
            key: LiteLLM's ``UserAPIKeyAuth``.
            request: the HTTP request; None outside of one.
        """
        state = CURRENT.get()
        model = request_data.get("model")
        if state is None or state.slug is not None or not isinstance(model, str) or ":" not in model:
            return
        if split_slug(model, lambda _name: Resolution.PATTERN).suffixes == ():
            return  # no suffix of ours, whatever exists
        aliases = await self._aliases(key)
        slug = split_slug(model, lambda name: Resolution.EXACT if name in aliases else Resolution.UNKNOWN)
        if not slug.suffixes:
            return
        from litellm.proxy.common_utils.http_parsing_utils import rewrite_request_model  # needs LiteLLM's proxy extra

        rewrite_request_model(request_data, request, slug.base)
        state.slug, state.requested = slug, model
        if request is not None:
            request.scope[CLIENT_MODEL_KEY] = model

    async def _aliases(self, key: Any) -> Collection[str]:
        server = self._server()
        settings: Mapping[str, Any] | None = await server.proxy_config.get_hierarchical_router_settings(
            user_api_key_dict=key, prisma_client=server.prisma_client, proxy_logging_obj=server.proxy_logging_obj
        )
        named = (settings or {}).get("model_group_alias")
        return {*(key.team_model_aliases or ()), *(key.aliases or ()), *(named if isinstance(named, dict) else ())}
