"""The values that metrics read when they are collected, in threads of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exacto_plugin.litellm_hooks.features import Feature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.features import Features
    from exacto_plugin.litellm_hooks.runtime.observed import ObservedNumbers
    from exacto_plugin.litellm_hooks.runtime.providers import Providers


@dataclass(frozen=True)
class MetricsSource:
    """A :class:`exacto_plugin.telemetry.TelemetrySource`: each value is immutable."""

    engine: Engine
    faults: FaultReporter
    observed: ObservedNumbers
    clock: Callable[[], float]
    known_providers: Providers
    routers: Routers
    known_features: Features

    @property
    def features(self) -> Mapping[str, bool]:
        """Feature -> whether it is on with the installed LiteLLM."""
        return {one.value: self.known_features.has(one) for one in Feature}

    @property
    def providers(self) -> Mapping[str, str]:
        """Deployment key -> provider."""
        return self.known_providers.by_deployment

    def knows_group(self, model_group: str) -> bool:
        """Return True if an operator configured this name."""
        return self.routers.knows_group(model_group)
