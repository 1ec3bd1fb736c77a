"""``sort: {by, partition: none}``: several models are put in order by the best deployment of each.

LiteLLM goes from model to model, so the deployments of different models are not shuffled together: the model whose best
deployment stands first is asked first, with all of its deployments, then the next. Reads configuration and snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.filters import apply_filters
from exacto_plugin.core.routing.ordering import best_rank
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.policy import policy_of
from exacto_plugin.litellm_hooks.request.provider_object import read_provider

if TYPE_CHECKING:
    from exacto_plugin.core.routing.policy import Slug
    from exacto_plugin.litellm_hooks.request.provider_object import ProviderObject
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


def order_models(runtime: Runtime, router: Any, provider: object, slugs: list[Slug]) -> list[Slug]:
    """The models of one request in the order in which they are tried.

    Args:
        runtime: settings and snapshot.
        router: LiteLLM's router.
        provider: the body's ``provider`` object, not checked yet.
        slugs: the models as the client listed them; they stay like this without ``partition: none``, and so do equals.
    """
    try:
        wishes = read_provider(provider, slugs[0].base)
    except ExactoRefusedError:
        return slugs  # whoever routes the request tells the client
    if wishes.sort is None or wishes.sort.partition == "model" or wishes.order:
        return slugs
    return sorted(slugs, key=lambda slug: _place(runtime, router, wishes, slug))


def _place(runtime: Runtime, router: Any, preferences: ProviderObject, slug: Slug) -> tuple[float, ...]:
    group = router.get_model_from_alias(slug.base) or slug.base
    policy = policy_of(runtime.settings, group, slug, preferences)
    candidates = [candidate_of(deployment, group) for deployment in runtime.deployments_of(group)]
    filters = [one for one in policy.filters if one.name != "require_parameters"]
    return best_rank(policy, apply_filters(filters, candidates), runtime.engine.snapshot.groups.get(group))
