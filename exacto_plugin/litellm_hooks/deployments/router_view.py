"""The reads of a ``litellm.Router``, the same on every supported LiteLLM.

Since 1.109 a router answers through ``registry()``, ``health()`` and ``settings()``, and its old members give a
``DeprecationWarning``; older routers have the members only. Nothing else in the package reads a router's members.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

FALLBACK_LISTS: Final = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
"""The settings that hold lists of fallbacks."""


def router_view(router: Any) -> RouterView:
    """Return the view of a router."""
    return _view_of(type(router))(router)  # type: ignore[arg-type]  # mypy takes classes for unhashable


@functools.cache
def _view_of(kind: type) -> type[RouterView]:
    """Return the view for a class of routers.

    The class is asked, because an attribute of a router takes longer to read since 1.109.
    """
    has_views = all(callable(getattr(kind, name, None)) for name in ("registry", "health", "settings"))
    return RegistryView if has_views else MemberView


class RouterView:
    """The reads of one router; holds no copy of anything.

    Args:
        router: a ``litellm.Router``.
    """

    __slots__ = ("_router",)

    def __init__(self, router: Any) -> None:
        self._router = router

    @property
    def model_names(self) -> Collection[str]:
        """The names of the configured model groups."""
        raise NotImplementedError

    @property
    def team_names(self) -> Collection[str]:
        """The names under which teams call deployments of their own."""
        raise NotImplementedError

    def knows(self, name: str) -> bool:
        """Return whether a name is configured, as any kind of name but a wildcard."""
        raise NotImplementedError

    def has_id(self, name: str) -> bool:
        """Return whether a deployment has this id."""
        raise NotImplementedError

    def alias(self, name: str) -> str | None:
        """Return the model group that an alias leads to; None for other names."""
        raise NotImplementedError

    def deployment(self, own_id: str) -> Mapping[str, Any] | None:
        """Return the entry of ``model_list`` with an id."""
        raise NotImplementedError

    def deployments(self, name: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the deployments that serve a name, wildcards included; without one, all."""
        raise NotImplementedError

    def named(self, group: str) -> Sequence[Mapping[str, Any]]:
        """Return the entries of ``model_list`` under exactly this name."""
        raise NotImplementedError

    def all(self) -> Sequence[Mapping[str, Any]]:
        """Return ``model_list``."""
        raise NotImplementedError

    @property
    def patterns(self) -> Any:
        """LiteLLM's router of wildcard names."""
        raise NotImplementedError

    def setting(self, name: str) -> Any:
        """Return a setting; None where this router has none."""
        raise NotImplementedError

    def set_fallbacks(self, name: str, value: list[Any]) -> None:
        """Replace one of ``FALLBACK_LISTS``."""
        raise NotImplementedError

    def strategy(self, group: str) -> str | None:
        """Return a model group's routing strategy.

        Strategies of single keys and requests are not considered.
        """
        raise NotImplementedError

    @property
    def cooldowns(self) -> Any:
        """LiteLLM's store of cooldowns."""
        raise NotImplementedError

    @property
    def redis(self) -> Any:
        """The Redis cache of the router's state; None without one."""
        raise NotImplementedError

    @property
    def plugins(self) -> Sequence[Any]:
        """The operator's routing plugins."""
        raise NotImplementedError

    # --- what follows from the others ------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """The names of model groups, and of teams' deployments."""
        return [*self.model_names, *self.team_names]

    def by_pattern(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return the entries of the wildcard that serves a name."""
        patterns = self.patterns
        # Checked first, because LiteLLM's lookup costs more than the rest of the middleware, also without a wildcard.
        return (patterns.get_deployments_by_pattern(model=name) or ()) if patterns.patterns else ()

    def entries_by_pattern(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return the entries of the wildcard that matches a name as it is written.

        LiteLLM's lookup also tries the name with its provider, and copies each entry.
        """
        found: Iterable[tuple[str, Sequence[Mapping[str, Any]]]] = self.patterns.patterns.items()
        return next((entries for pattern, entries in found if re.match(pattern, name)), ())

    def holds(self, group: str, own_id: str) -> bool:
        """Return whether a model group has an entry with an id."""
        return any(litellm_id(one) == own_id for one in self.named(group))

    def in_group(self, group: str, deployments: list[Any]) -> list[Any]:
        """Return a model group's deployments, each as its entry in that group.

        One id may be in several groups, and since 1.110 LiteLLM passes the entry of any of them.
        """
        if not [one for one in deployments if one.get("model_name") != group]:
            return deployments
        own = {litellm_id(one): one for one in self.named(group)}
        return [own.get(litellm_id(one), one) for one in deployments] if own else deployments


class RegistryView(RouterView):
    """A router of LiteLLM 1.109 or newer."""

    __slots__ = ()

    @property
    def model_names(self) -> Collection[str]:
        return self._router.registry().names(kind="group_set")  # type: ignore[no-any-return]

    @property
    def team_names(self) -> Collection[str]:
        return self._router.registry().names(kind="team_public")  # type: ignore[no-any-return]

    def knows(self, name: str) -> bool:
        registry = self._router.registry()
        return bool(
            registry.resolve(name, kind="recognized")
            or name in registry.names(kind="team_public")
            or name in registry.names(kind="deployment_names")
        )

    def has_id(self, name: str) -> bool:
        return bool(self._router.registry().has_deployment(name))

    def alias(self, name: str) -> str | None:
        return self._router.registry().resolve(name, kind="alias")  # type: ignore[no-any-return]

    def deployment(self, own_id: str) -> Mapping[str, Any] | None:
        return self._router.registry().deployment_dict(own_id)  # type: ignore[no-any-return]

    def deployments(self, name: str | None = None) -> Sequence[Mapping[str, Any]]:
        return self._router.registry().deployments(model_name=name) or ()

    def named(self, group: str) -> Sequence[Mapping[str, Any]]:
        return self._router.registry().deployments(group, source="named") or ()

    def all(self) -> Sequence[Mapping[str, Any]]:
        return self._router.registry().all()  # type: ignore[no-any-return]

    @property
    def patterns(self) -> Any:
        return self._router.registry().patterns()

    def setting(self, name: str) -> Any:
        settings = self._router.settings()
        if hasattr(settings, name):
            return getattr(settings, name)
        return settings.as_dict().get(name)

    def set_fallbacks(self, name: str, value: list[Any]) -> None:
        from litellm.router_api import ChangeSet  # type: ignore[import-not-found, unused-ignore]

        self._router.apply(ChangeSet(assign={name: value}))

    def strategy(self, group: str) -> str | None:
        groups: Mapping[str, Any] = self._router.registry().routing_groups() or {}
        group = self.alias(group) or group
        own = groups.get(group)
        if own is None:
            member = [one for one in groups.values() if group in one.models and one.routing_strategy != "priority"]
            own = member[0] if member else None
        found = own.routing_strategy if own is not None else self.setting("routing_strategy")
        found = getattr(found, "value", found)
        return "simple-shuffle" if found == "priority" else found

    @property
    def cooldowns(self) -> Any:
        return self._router.health().cooldowns

    @property
    def redis(self) -> Any:
        return getattr(self._router.health().store, "redis_cache", None)

    @property
    def plugins(self) -> Sequence[Any]:
        return self._router.registry().plugins("routing") or ()


class MemberView(RouterView):
    """A router of LiteLLM up to 1.108."""

    __slots__ = ()

    @property
    def model_names(self) -> Collection[str]:
        return self._router.model_names  # type: ignore[no-any-return]

    @property
    def team_names(self) -> Collection[str]:
        return self._router.team_public_model_names  # type: ignore[no-any-return]

    def knows(self, name: str) -> bool:
        router = self._router
        known = router.is_recognized_model(name)
        return bool(known or name in router.team_public_model_names or name in router.deployment_names)

    def has_id(self, name: str) -> bool:
        return bool(self._router.has_model_id(name))

    def alias(self, name: str) -> str | None:
        return self._router.get_model_from_alias(model=name)  # type: ignore[no-any-return]

    def deployment(self, own_id: str) -> Mapping[str, Any] | None:
        return self._router.get_model_info(id=own_id)  # type: ignore[no-any-return]

    def deployments(self, name: str | None = None) -> Sequence[Mapping[str, Any]]:
        return self._router.get_model_list(model_name=name) or ()

    def named(self, group: str) -> Sequence[Mapping[str, Any]]:
        at = self._router.model_name_to_deployment_indices.get(group, ())
        return [self._router.model_list[one] for one in at]

    def all(self) -> Sequence[Mapping[str, Any]]:
        return self._router.model_list  # type: ignore[no-any-return]

    @property
    def patterns(self) -> Any:
        return self._router.pattern_router

    def setting(self, name: str) -> Any:
        return getattr(self._router, name, None)

    def set_fallbacks(self, name: str, value: list[Any]) -> None:
        setattr(self._router, name, value)

    def strategy(self, group: str) -> str | None:
        context = getattr(self._router, "_get_routing_context", None)
        found = context(group)[0] if context is not None else getattr(self._router, "routing_strategy", None)
        return getattr(found, "value", found)

    @property
    def cooldowns(self) -> Any:
        return self._router.cooldown_cache

    @property
    def redis(self) -> Any:
        return getattr(getattr(self._router, "cache", None), "redis_cache", None)

    @property
    def plugins(self) -> Sequence[Any]:
        return getattr(self._router, "routing_plugins", None) or ()
