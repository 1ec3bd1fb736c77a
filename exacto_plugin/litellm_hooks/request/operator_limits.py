"""Operator limits: hard filters of settings, model group, key and team.

This module alone decides which limits apply to a deployment and a caller. They apply under every name that a deployment
is requested by: its model group, its own id, a wildcard, a routing group, the provider's name of its model. The
client's own filters are not among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.core.routing.policy import Filter, has_suffix, strip_suffixes
from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.request.key_defaults import Defaults, caller_hard_filter

if TYPE_CHECKING:
    from exacto_plugin.config.settings import Settings
    from exacto_plugin.litellm_hooks.deployments.routers import Routers

Deployment = Mapping[str, Any]


def limits_of(settings: Settings, caller: Defaults, groups: Iterable[str]) -> tuple[Filter, ...]:
    """Return every limit on the deployments that may serve a caller.

    Args:
        settings: the settings in force.
        caller: defaults and limits of its key and its team.
        groups: the model groups of the deployment, and the requested one.
    """
    imposed = chain.from_iterable(settings.filters_of(group) for group in groups)
    return tuple(dict.fromkeys((*caller.filters, *imposed)))


def own_limits(settings: Settings, deployment: Deployment, asked: str) -> tuple[Filter, ...]:
    """Return the limits of a deployment's own model group.

    They are added where the deployment was requested under another name.

    Args:
        settings: the settings in force.
        deployment: an entry of ``model_list``.
        asked: the requested model group, whose limits are already applied.
    """
    if not settings.model_groups:
        return ()
    known, groups = settings.filters_of(asked), (group for group in groups_of(deployment) if group != asked)
    return tuple(one for group in groups for one in settings.filters_of(group) if one not in known)


def groups_of(deployment: Deployment) -> tuple[str, ...]:
    """Return the model groups of an entry of ``model_list``.

    These are its own name and a team's public one.
    """
    info: Mapping[str, Any] = deployment.get("model_info") or {}
    names = (deployment.get("model_name"), info.get("team_public_model_name"))
    return tuple(name for name in names if isinstance(name, str) and name)


def promises_of_unresolved(settings: Settings, routers: Routers, group: str) -> tuple[Filter, ...]:
    """Return what holds for a name without its suffixes: limits and curated list.

    A wildcard matches a suffixed name too. Names that are too long, or too many, are not resolved before the key is
    checked, and must not escape what holds for the name without suffixes.

    Args:
        settings: the settings in force.
        routers: of this process.
        group: the model group of an attempt whose slug has no suffixes.
    """
    if not has_suffix(group) or routers.knows_group(group):
        return ()
    slug = strip_suffixes(group)
    aliased = (router_view(router).alias(slug.base) for router in routers.live)
    base = next((name for name in aliased if name), slug.base)
    listed = settings.curated_list(base) if slug.curated else None
    return (*settings.filters_of(base), *(() if listed is None else (Filter("curated", listed),)))


def promised(settings: Settings, groups: Iterable[str], kwargs: Mapping[str, Any]) -> str | None:
    """Return the name of the first limit, without checking it; None without any.

    Used where the deployments that a limit removes cannot be determined.

    Args:
        settings: the settings in force.
        groups: as for ``limits_of``.
        kwargs: the request as LiteLLM routes it.
    """
    imposed = (one.name for group in groups for one in settings.filters_of(group))
    return next(imposed, None) or caller_hard_filter(kwargs)


class Picked(NamedTuple):
    """Deployment that LiteLLM is about to call."""

    id: str
    """Its ``model_info.id``."""
    deployment: Deployment
    """Its entry of ``model_list``."""
    groups: tuple[str, ...]
    """All its model groups."""
    named: bool
    """True when the caller requested the deployment by its id."""


def picked_of(
    routers: Routers, settings: Settings, kwargs: Mapping[str, Any], metadata: Mapping[str, Any]
) -> Picked | None:
    """Return the deployment about to be called, as the operator configured it.

    None when it is no deployment of a router.

    Args:
        routers: of this process.
        settings: the settings in force.
        kwargs: arguments of LiteLLM's call. They are used only where no router has the deployment: there a client's
            fields replace the operator's.
        metadata: LiteLLM's metadata of the request.
    """
    found = kwargs.get("model_info")
    info: Mapping[str, Any] = found if isinstance(found, dict) else metadata.get("model_info") or {}
    called_id = litellm_id({"model_info": info})
    if not called_id:
        return None
    # A client that sends its own provider key gets a deployment that no router has, with a new id.
    own_id = str(info.get("original_model_id") or called_id)
    called = metadata.get("deployment_model_name")
    sent = {"litellm_params": kwargs, "model_info": info, "model_name": called}
    deployment = _entry(routers, own_id, kwargs.get("model")) or sent
    groups = groups_of(deployment)
    named = metadata.get("model_group") in (None, own_id, called_id)
    if named:  # one id may be in several model groups
        groups = (*(group for group in settings.model_groups if _holds(routers, group, own_id)), *groups)
    elif called not in groups and _holds(routers, called, own_id):
        groups = (str(called),)
    return Picked(own_id, deployment, groups, named)


def _entry(routers: Routers, own_id: str, model: object) -> Deployment | None:
    """Return the ``model_list`` entry with an id; None without one.

    Where a wildcard leaves the model open, the entry gets the model that is called.
    """
    for router in routers.live:
        entry: Deployment | None = router_view(router).deployment(own_id)
        if entry is None:
            continue
        params: Mapping[str, Any] = entry["litellm_params"]
        is_open = "*" in str(params.get("model"))
        return {**entry, "litellm_params": {**params, "model": model}} if is_open else entry
    return None


def _holds(routers: Routers, group: object, own_id: str) -> bool:
    """Return whether a model group has an entry with an id."""
    return isinstance(group, str) and any(router_view(router).holds(group, own_id) for router in routers.live)
