"""An operator's word in a program under test: brings a tier about at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.routing.overrides import Override, OverrideAction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


def say_good(runtime: Runtime, model_group: str, deployments: Iterable[str]) -> None:
    """From now on these deployments are verified good."""
    now = runtime.context.clock()
    words = [
        Override(model_group, DeploymentKey(name), OverrideAction.GOOD, "for a test", "", now, now + 3600)
        for name in deployments
    ]
    runtime.engine.overrides.merge(words, now)
