"""What the operator allows: the one place that says which limits hold for a deployment and a caller.

Limits are the hard filters of settings, model group, key and team. They hold whatever a deployment is called by: its
model group, its own id, a wildcard, a routing group, the provider's name of its model. What the client itself asked
for is no part of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.litellm_hooks.request.key_defaults import Defaults, caller_hard_filter

if TYPE_CHECKING:
    from exacto_plugin.config.settings import Settings
    from exacto_plugin.core.routing.policy import Filter
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

Deployment = Mapping[str, Any]


def limits_of(settings: Settings, caller: Defaults, groups: Iterable[str]) -> tuple[Filter, ...]:
    """Every limit on what a caller may be served by.

    Args:
        settings: the settings in force.
        caller: what its key and its team bring.
        groups: the model groups that the deployment belongs to, and the one that was asked for.
    """
    imposed = chain.from_iterable(settings.filters_of(group) for group in groups)
    return tuple(dict.fromkeys((*caller.filters, *imposed)))


def own_limits(settings: Settings, deployment: Deployment, asked: str) -> tuple[Filter, ...]:
    """The limits of a deployment's own model group, where it was asked for under another name.

    Args:
        settings: the settings in force.
        deployment: an entry of ``model_list``.
        asked: the model group that was asked for, whose limits are known.
    """
    if not settings.model_groups:
        return ()
    known, groups = settings.filters_of(asked), (group for group in groups_of(deployment) if group != asked)
    return tuple(one for group in groups for one in settings.filters_of(group) if one not in known)


def groups_of(deployment: Deployment) -> tuple[str, ...]:
    """The model groups of an entry of ``model_list``: its own name, and a team's public one."""
    info: Mapping[str, Any] = deployment.get("model_info") or {}
    names = (deployment.get("model_name"), info.get("team_public_model_name"))
    return tuple(name for name in names if isinstance(name, str) and name)


def promised(settings: Settings, groups: Iterable[str], kwargs: Mapping[str, Any]) -> str | None:
    """The first limit that somebody relies on, not checked; asked where what it rules out cannot be told.

    Args:
        settings: the settings in force.
        groups: as for ``limits_of``.
        kwargs: the request as LiteLLM routes it.
    """
    imposed = (one.name for group in groups for one in settings.filters_of(group))
    return next(imposed, None) or caller_hard_filter(kwargs)


class Picked(NamedTuple):
    """A deployment that LiteLLM is about to call."""

    id: str
    """Its ``model_info.id``."""
    deployment: Deployment
    """Its entry of ``model_list``."""
    groups: tuple[str, ...]
    """Every model group that it belongs to."""
    named: bool
    """The caller named the deployment itself, by its id."""


def picked_of(runtime: Runtime, kwargs: Mapping[str, Any], metadata: Mapping[str, Any]) -> Picked | None:
    """Who is about to be called, as the operator wrote it; None when it is no deployment of a router.

    Args:
        runtime: of this process.
        kwargs: what LiteLLM calls it with. It is believed only where no router has the deployment: a client's fields
            take the place of the operator's there.
        metadata: of the request.
    """
    found = kwargs.get("model_info")
    info: Mapping[str, Any] = found if isinstance(found, dict) else metadata.get("model_info") or {}
    litellm_id = str(info.get("id") or "")
    if not litellm_id:
        return None
    # A client that brings a key of its own gets a deployment that no router has, under an id of its own.
    own_id = str(info.get("original_model_id") or litellm_id)
    called = metadata.get("deployment_model_name")
    sent = {"litellm_params": kwargs, "model_info": info, "model_name": called}
    deployment = _entry(runtime, own_id, kwargs.get("model")) or sent
    groups = groups_of(deployment)
    named = metadata.get("model_group") in (None, own_id, litellm_id)
    if named:  # one id may stand in several model groups
        groups = (*(group for group in runtime.settings.model_groups if _holds(runtime, group, own_id)), *groups)
    elif called not in groups and _holds(runtime, called, own_id):
        groups = (str(called),)
    return Picked(own_id, deployment, groups, named)


def _entry(runtime: Runtime, litellm_id: str, model: object) -> Deployment | None:
    """The entry with an id; where a wildcard leaves its model open, with the one that is called."""
    for router in runtime.routers:
        at = router.model_id_to_deployment_index_map.get(litellm_id)
        if at is None:
            continue
        entry: Deployment = router.model_list[at]
        params: Mapping[str, Any] = entry["litellm_params"]
        is_open = "*" in str(params.get("model"))
        return {**entry, "litellm_params": {**params, "model": model}} if is_open else entry
    return None


def _holds(runtime: Runtime, group: object, litellm_id: str) -> bool:
    """Whether a model group has an entry with an id."""
    return any(
        (router.model_list[at].get("model_info") or {}).get("id") == litellm_id
        for router in runtime.routers
        for at in router.model_name_to_deployment_indices.get(group, ())
    )
