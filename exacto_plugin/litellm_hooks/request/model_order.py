"""Order of several models by their best deployments (``partition: none``).

LiteLLM tries one model after the other, so deployments of different models are not mixed: the model whose best
deployment ranks first is tried first, with all of its deployments, then the next. Reads configuration and snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.core.routing.filters import apply_filters
from exacto_plugin.core.routing.ordering import best_rank
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.policy import policy_of
from exacto_plugin.litellm_hooks.request.provider_object import read_provider

if TYPE_CHECKING:
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import Candidate
    from exacto_plugin.core.routing.policy import Slug
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.request.provider_object import ProviderObject


MOST_RANKED: Final = 8
"""Most models of one request that are ranked; the others follow in the client's order.

LiteLLM tries 5 fallbacks (``ROUTER_MAX_FALLBACKS``). The ranking precedes the check of the key, so any client may cause
it, and it reads every deployment of a model."""

_MOST_FIELDS: Final = 64
"""Most entries of all lists of a ``provider`` object that is read for the ranking."""


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
        if _entries(provider) > _MOST_FIELDS:
            return slugs
        try:
            preferences = read_provider(provider, slugs[0].base)
        except ExactoRefusedError:
            return slugs  # the routing of the request reports it to the client
        if preferences.sort is None or preferences.sort.partition == "model" or preferences.order:
            return slugs
        known: dict[str, list[Candidate]] = {}
        ranked = sorted(slugs[:MOST_RANKED], key=lambda slug: self._place(router, preferences, slug, known))
        return ranked + slugs[MOST_RANKED:]

    def _place(
        self, router: Any, preferences: ProviderObject, slug: Slug, known: dict[str, list[Candidate]]
    ) -> tuple[float, ...]:
        group = router_view(router).alias(slug.base) or slug.base
        policy = policy_of(self._context.settings, group, slug, preferences)
        candidates = known.get(group)
        if candidates is None:
            found = self._routers.deployments_of(group)
            candidates = known[group] = [candidate_of(deployment, group) for deployment in found]
        filters = [one for one in policy.filters if one.name != "require_parameters"]
        snapshot = self._engine.snapshot.groups.get(group)
        return best_rank(policy, apply_filters(filters, candidates), snapshot)


def _entries(provider: object) -> int:
    """Return the length of a ``provider`` object, with that of the collections in it."""
    if not isinstance(provider, dict):
        return 0
    return len(provider) + sum(len(value) for value in provider.values() if isinstance(value, list | dict | str))
