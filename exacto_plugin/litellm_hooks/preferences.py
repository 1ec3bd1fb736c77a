"""What one attempt was asked to do: the suffixes of its name and the body's ``provider`` object become a Policy.

Reads only; which deployments that leaves is :mod:`exacto_plugin.litellm_hooks.routing`'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.policy import BODY_SORTS, Slug, resolve_policy
from exacto_plugin.litellm_hooks.body import HOP_KEY
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, invalid_preference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import Policy, Sort
    from exacto_plugin.settings import Settings


def slug_of(group: str, kwargs: Mapping[str, Any], asked: Slug | None, *, same_group: bool) -> Slug:
    """The slug of an attempt.

    Args:
        group: the model group of the attempt.
        kwargs: the request as LiteLLM routes it; an entry of a fallback list brings its own suffixes there.
        asked: the slug that the client asked for.
        same_group: whether the attempt asks the model group that the client asked for.
    """
    own = kwargs.get(HOP_KEY)  # taken out later: until then a fault can still tell what was promised
    if isinstance(own, str):
        return Slug(group, tuple(part for part in own.split(":") if part))
    return asked if same_group and asked is not None else Slug(group)


def policy_of(settings: Settings, group: str, slug: Slug, provider: object) -> Policy:
    """The body's ``provider.sort``, then the slug's suffixes, then the configured default.

    Under ``client_preferences: deny`` all of the client's wishes but ``:exacto`` count as if they had not been sent.

    Args:
        settings: the settings in force.
        group: the model group.
        slug: the attempt's slug.
        provider: the body's ``provider`` object; None without one.

    Raises:
        ExactoRefusedError: ``provider`` is malformed.
    """
    default = settings.default_sort_of(group)
    if settings.client_preferences == "deny":
        kept = tuple(suffix for suffix in slug.suffixes if suffix == "exacto")
        return resolve_policy(Slug(slug.base, kept), None, default)
    return resolve_policy(slug, _body_sort(group, provider), default)


def _body_sort(group: str, provider: object) -> Sort | None:
    if provider is None:
        return None
    if not isinstance(provider, dict):
        raise ExactoRefusedError(invalid_preference("provider", type(provider).__name__, "an object"), group)
    unknown = sorted(str(field) for field in provider if field != "sort")
    if unknown:
        raise ExactoRefusedError(invalid_preference(f"provider.{unknown[0]}", "an unknown field", "sort"), group)
    sort = provider.get("sort")
    if sort is None:
        return None
    if not isinstance(sort, str) or sort not in BODY_SORTS:
        expected = f"one of {', '.join(sorted(BODY_SORTS))}"
        raise ExactoRefusedError(invalid_preference("provider.sort", sort, expected), group)
    return BODY_SORTS[sort]
