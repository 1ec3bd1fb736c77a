"""What one attempt was asked to do: the suffixes of its name and the body's ``provider`` object become a Policy.

Reads only; which deployments that leaves is :mod:`exacto_plugin.litellm_hooks.routing.router`'s business.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.filters import NAMES
from exacto_plugin.core.routing.policy import Filter, Slug, resolve_policy
from exacto_plugin.litellm_hooks.deployments.model_names import is_openrouter
from exacto_plugin.litellm_hooks.request.body import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.request.key_defaults import NO_DEFAULTS, Defaults
from exacto_plugin.litellm_hooks.request.operator_limits import limits_of
from exacto_plugin.litellm_hooks.request.provider_object import NO_PREFERENCES, ProviderObject
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.core.routing.policy import Policy


def slug_of(group: str, kwargs: Mapping[str, Any], asked: Slug | None, *, same_group: bool) -> Slug:
    """The slug of an attempt.

    Args:
        group: the model group of the attempt.
        kwargs: the request as LiteLLM routes it; an entry of a fallback list brings its own suffixes there.
        asked: the slug that the client asked for.
        same_group: whether the attempt asks the model group that the client asked for.
    """
    own = kwargs.get(SUFFIXES_KEY)  # taken out later: until then a fault can still tell what was promised
    if isinstance(own, str):
        return Slug(group, tuple(part for part in own.split(":") if part))
    return asked if same_group and asked is not None else Slug(group)


def policy_of(
    settings: Settings,
    group: str,
    slug: Slug,
    provider: ProviderObject = NO_PREFERENCES,
    caller: Defaults = NO_DEFAULTS,
    sent: Callable[[], tuple[str, ...]] = tuple,
) -> Policy:
    """Put together what the client asks for, what its key and team bring, and what is configured.

    Hard filters add up: whatever any of them rules out is out. Under ``client_preferences: deny`` all of the client's
    wishes but ``:exacto`` count as if they had not been sent; what the operator set still holds.

    Args:
        settings: the settings in force.
        group: the model group.
        slug: the attempt's slug.
        wishes: the body's ``provider`` object.
        caller: defaults and limits of the key and the team.
        sent: gives the parameters that the request sends; asked only when all of them must be supported.
    """
    if settings.client_preferences == "deny":
        slug = Slug(slug.base, tuple(suffix for suffix in slug.suffixes if suffix == "exacto"))
        provider = NO_PREFERENCES
    default_sort = caller.default_sort or settings.default_sort_of(group)
    policy = resolve_policy(slug, provider.body_sort, default_sort, provider.order or ())
    curated = settings.curated_list(group) if policy.curated else None
    filters = (*_curated(curated), *provider.filters(), *limits_of(settings, caller, (group,)))
    if provider is NO_PREFERENCES:
        return replace(policy, filters=_in_order(filters)) if filters else policy
    parameters = sent() if provider.require_parameters else ()
    filters += (Filter("require_parameters", parameters),) if parameters else ()
    filters += (Filter("order", provider.order),) if provider.order and provider.allow_fallbacks is False else ()
    return replace(
        policy,
        only=provider.only or (),
        ignore=provider.ignore or (),
        allow_fallbacks=provider.allow_fallbacks is not False,
        preferences=provider.preferences,
        filters=_in_order(filters),
    )


def _in_order(filters: Iterable[Filter]) -> tuple[Filter, ...]:
    # What is malformed comes first: it is told whatever else leaves nobody.
    return tuple(sorted(filters, key=lambda one: (not one.expected, NAMES.index(one.name))))


def _curated(listed: tuple[str, ...] | None) -> tuple[Filter, ...]:
    return () if listed is None else (Filter("curated", listed),)


def without_our_keys(kwargs: dict[str, Any]) -> dict[str, Any]:
    """``kwargs`` without what is ours; ``provider`` and ``models`` go on to OpenRouter, which understands them."""
    kwargs.pop(SUFFIXES_KEY, None)
    if is_openrouter({"litellm_params": kwargs}):
        if kwargs.get("provider", kwargs) is None:
            del kwargs["provider"]
        return kwargs
    for name in ("provider", "models"):
        kwargs.pop(name, None)
    state, extra = CURRENT.get(), kwargs.get("extra_body")
    # Of what is in ``extra_body`` only the caller's own: an operator may have put something there for an upstream.
    asked = None if state is None else state.extra_provider
    if asked is not None and isinstance(extra, dict) and extra.get("provider") == asked:
        kwargs["extra_body"] = {key: value for key, value in extra.items() if key != "provider"}
    return kwargs
