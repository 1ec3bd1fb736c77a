"""Policy of one attempt, from its slug and the body's ``provider`` object.

Reads only. :mod:`exacto_plugin.litellm_hooks.routing.router` applies the policy to deployments.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.filters import NAMES
from exacto_plugin.core.routing.policy import Filter, Slug, resolve_policy
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.deployments.model_names import is_openrouter
from exacto_plugin.litellm_hooks.request.key_defaults import NO_DEFAULTS, Defaults
from exacto_plugin.litellm_hooks.request.operator_limits import limits_of
from exacto_plugin.litellm_hooks.request.provider_object import NO_PREFERENCES, ProviderObject
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from exacto_plugin.config.settings import Settings
    from exacto_plugin.core.routing.policy import Policy


def slug_of(group: str, kwargs: Mapping[str, Any], asked: Slug | None, *, same_group: bool) -> Slug:
    """Return the slug of an attempt.

    Args:
        group: the model group of the attempt.
        kwargs: the request as LiteLLM routes it; includes the suffixes of a fallback list's entry.
        asked: the slug that the client requested.
        same_group: whether the attempt is for the model group that the client requested.
    """
    own = kwargs.get(SUFFIXES_KEY)  # removed later: until then an error handler can read the hard filters from it
    if isinstance(own, str):
        return Slug(group, tuple(part for part in own.split(":") if part))
    return asked if same_group and asked is not None else Slug(group)


_OURS = (SUFFIXES_KEY, "provider", "models")


def policy_of(
    settings: Settings,
    group: str,
    slug: Slug,
    provider: ProviderObject = NO_PREFERENCES,
    caller: Defaults = NO_DEFAULTS,
    sent: Callable[[], tuple[str, ...]] = tuple,
) -> Policy:
    """Combine the client's preferences, its key and team, and the settings.

    Hard filters are cumulative: a deployment must pass all of them. Under ``client_preferences: deny`` all of the
    client's preferences except ``:exacto`` are ignored; the operator's limits still apply.

    Args:
        settings: the settings in force.
        group: the model group.
        slug: the slug of the attempt.
        provider: the body's ``provider`` object.
        caller: defaults and limits of the key and the team.
        sent: returns the parameters that the request sends; called only when all of them must be supported.
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
    return _with_preferences(policy, provider, filters, sent)


class PolicyCache:
    """The policies of requests without preferences, kept while the settings hold.

    A policy with a ``provider`` object, or of a key or team with a block of its own, is always made anew: what one
    request or caller asked for never applies to another one. Measured: a kept policy takes 0.2 us, a new one 6 us.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit  # callers choose names under wildcards
        self._kept: tuple[Settings | None, dict[tuple[str, tuple[str, ...]], Policy]] = (None, {})

    def of(
        self,
        settings: Settings,
        group: str,
        slug: Slug,
        provider: ProviderObject,
        caller: Defaults,
        sent: Callable[[], tuple[str, ...]],
    ) -> Policy:
        """Return ``policy_of`` these arguments."""
        if provider is not NO_PREFERENCES or caller is not NO_DEFAULTS:
            return policy_of(settings, group, slug, provider, caller, sent)
        made_for, known = self._kept
        if made_for is not settings:  # both at once: other threads may have the settings from before
            known = {}
            self._kept = (settings, known)
        name = (group, slug.suffixes)
        policy = known.get(name)
        if policy is None:
            if len(known) >= self._limit:
                known.clear()
            policy = known[name] = policy_of(settings, group, slug)
        return policy


def with_filters(policy: Policy, more: tuple[Filter, ...]) -> Policy:
    """Return a policy with further hard filters."""
    return replace(policy, filters=_in_order(dict.fromkeys((*policy.filters, *more)))) if more else policy


def _with_preferences(
    policy: Policy, provider: ProviderObject, filters: tuple[Filter, ...], sent: Callable[[], tuple[str, ...]]
) -> Policy:
    """Add a ``provider`` object; its own hard filters are among ``filters``."""
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
    # Malformed limits come first: they are reported before any other filter that leaves no deployment.
    return tuple(sorted(filters, key=lambda one: (not one.expected, NAMES.index(one.name))))


def _curated(listed: tuple[str, ...] | None) -> tuple[Filter, ...]:
    return () if listed is None else (Filter("curated", listed),)


def dropped_upstream(kwargs: dict[str, Any]) -> None:
    """Have LiteLLM drop the plugin's keys; changes ``kwargs`` in place.

    Those of fallback entries are included. For calls that reach a deployment without a hook of the plugin's.
    """
    for name in _OURS:
        kwargs.pop(name, None)
    kwargs["additional_drop_params"] = [*(kwargs.get("additional_drop_params") or ()), *_OURS]


def without_our_keys(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Remove the plugin's keys from ``kwargs``.

    ``provider`` and ``models`` are kept for OpenRouter, which supports them.
    """
    kwargs.pop(SUFFIXES_KEY, None)
    if is_openrouter({"litellm_params": kwargs}):
        if kwargs.get("provider", kwargs) is None:
            del kwargs["provider"]
        return kwargs
    for name in ("provider", "models"):
        kwargs.pop(name, None)
    state, extra = CURRENT.get(), kwargs.get("extra_body")
    # In ``extra_body`` only the caller's own object is removed: an operator may have set one there for an upstream.
    asked = None if state is None else state.extra_provider
    if asked is not None and isinstance(extra, dict) and extra.get("provider") == asked:
        kwargs["extra_body"] = {key: value for key, value in extra.items() if key != "provider"}
    return kwargs
