"""Checks of settings against the model groups and deployments of live routers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.litellm_hooks.checks.model_list import naming_problems
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.router_view import router_view

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers


def live_problems(context: Context, routers: Routers) -> list[str]:
    """Return the settings in force that fit to nothing in the routers, one line each.

    Also deployments of LiteLLM's database are there, which a configuration does not have. Nothing without a router.
    """
    views = [router_view(router) for router in routers.live]
    names = sorted({name for view in views for name in (*view.model_names, *view.team_names)})
    if not names:
        return []
    return naming_problems(
        context.settings, {name: [candidate_of(one, name) for one in routers.deployments_of(name)] for name in names}
    )
