"""Order of several models by their best deployments (``partition: none``).

LiteLLM tries one model after the other, so deployments of different models are not mixed: the model whose best
deployment ranks first is tried first, with all of its deployments, then the next. Reads configuration and snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.filters import apply_filters
from exacto_plugin.core.routing.ordering import best_rank
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.policy import policy_of
from exacto_plugin.litellm_hooks.request.provider_object import read_provider

if TYPE_CHECKING:
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.routing.policy import Slug
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.request.provider_object import ProviderObject


class ModelOrder:
    """The order of a request's models. One per process, without state.

    Args:
        context: has the settings in force.
        engine: has the snapshot.
        routers: have the deployments.
    """

    def __init__(self, context: Context, engine: Engine, routers: Routers) -> None:
        self._context = context
        self._engine = engine
        self._routers = routers

    def order_models(self, router: Any, provider: object, slugs: list[Slug]) -> list[Slug]:
        """Return the models of one request in the order in which they are tried.

        Args:
            router: LiteLLM's router.
            provider: the body's ``provider`` object, not checked yet.
            slugs: the models as the client listed them; this order is kept without ``partition: none``, and between
                equals.
        """
        try:
            preferences = read_provider(provider, slugs[0].base)
        except ExactoRefusedError:
            return slugs  # the routing of the request reports it to the client
        if preferences.sort is None or preferences.sort.partition == "model" or preferences.order:
            return slugs
        return sorted(slugs, key=lambda slug: self._place(router, preferences, slug))

    def _place(self, router: Any, preferences: ProviderObject, slug: Slug) -> tuple[float, ...]:
        group = router_view(router).alias(slug.base) or slug.base
        policy = policy_of(self._context.settings, group, slug, preferences)
        candidates = [candidate_of(deployment, group) for deployment in self._routers.deployments_of(group)]
        filters = [one for one in policy.filters if one.name != "require_parameters"]
        snapshot = self._engine.snapshot.groups.get(group)
        return best_rank(policy, apply_filters(filters, candidates), snapshot)
