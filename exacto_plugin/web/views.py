"""The model groups of a process as plain data, for the API and for programs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.views import group_view, with_choices
from exacto_plugin.litellm_hooks.deployments.declared_view import declared_of
from exacto_plugin.web.why_now import WhyNow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import GroupSnapshot
    from exacto_plugin.core.routing.caller_preferences import CallerPreferences
    from exacto_plugin.core.scoring.flaws import FlawCounts
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.runtime.observed import ObservedNumbers
    from exacto_plugin.litellm_hooks.runtime.overrides import OverrideService
    from exacto_plugin.litellm_hooks.runtime.providers import Providers
    from exacto_plugin.litellm_hooks.runtime.replication import Replication
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


class ModelViews:
    """The views of one process's model groups.

    Args:
        context: has the curated lists.
        engine: has the verdicts.
        providers: of the deployments.
        flaws: of their answers.
        observed: metrics that no tier follows from.
        preferences: those of callers.
        declared: returns the declared prices and properties of a model group's deployments.
        overrides: knows the configured deployments.
        replication: knows when the next verdicts are due.
    """

    def __init__(
        self,
        context: Context,
        engine: Engine,
        providers: Providers,
        flaws: FlawCounts,
        observed: ObservedNumbers,
        preferences: CallerPreferences,
        declared: Callable[[str], Mapping[str, Any]],
        overrides: OverrideService,
        replication: Replication,
    ) -> None:
        self._context = context
        self._engine = engine
        self._providers = providers
        self._flaws = flaws
        self._observed = observed
        self._preferences = preferences
        self._declared = declared
        self._overrides = overrides
        self._replication = replication

    def all(self) -> dict[str, Any]:
        """Return every model group as the API and programs see it.

        ``waiting`` are the configured deployments without a verdict yet.
        """
        snapshot = self._engine.snapshot
        return {
            "snapshot": snapshot.id,
            "at": snapshot.at,
            "next_recompute_at": self._replication.next_recompute_at(),
            "model_groups": [self.one(group) for _, group in sorted(snapshot.groups.items())],
            "waiting": [
                {"model_group": group, "deployment": one.key, "provider": one.provider}
                for group, candidates in sorted(self._overrides.known().items())
                for one in candidates
                if snapshot.verdict(group, one.key) is None
            ],
        }

    def watch(self, model_group: str, now: float) -> None:
        """Request the percentiles of a model group; the next recompute has them."""
        self._engine.watch(model_group, now)

    def one(self, group: GroupSnapshot) -> dict[str, Any]:
        """Return one model group with callers' preferences and its curated list."""
        view = group_view(
            group, self._providers.by_deployment, self._flaws, self._observed.latest, self._context.clock()
        )
        view["mode"] = self._context.settings.mode_of(group.model_group).value
        declared = self._declared(group.model_group)
        for one in view["deployments"]:
            one["declared"] = declared.get(one["deployment"])
        return with_choices(view, self._preferences, self._context.settings.curated_list(group.model_group))


def views_of(runtime: Runtime) -> ModelViews:
    """Return the views of this process's model groups."""
    return ModelViews(
        runtime.context,
        runtime.engine,
        runtime.providers,
        runtime.samples.flaws,
        runtime.observed,
        runtime.caller_preferences,
        partial(declared_of, runtime.routers),
        runtime.overrides,
        runtime.replication,
    )


def why_now_of(runtime: Runtime) -> WhyNow:
    """Return the reasons of this process's tiers."""
    samples, context = runtime.samples, runtime.context
    return WhyNow(
        context.clock,
        runtime.engine,
        runtime.store,
        runtime.providers,
        samples.flaws,
        samples.pairs,
        lambda: context.settings.benchmarks.reference,
    )
