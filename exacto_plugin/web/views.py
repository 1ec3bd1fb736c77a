"""The model groups of a runtime as plain data, for the API and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.views import group_view, with_choices

if TYPE_CHECKING:
    from exacto_plugin.core.model import GroupSnapshot
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


def models_view(runtime: Runtime) -> dict[str, Any]:
    """Return every model group as the API and programs see it."""
    snapshot = runtime.engine.snapshot
    groups = [model_view(group, runtime) for _, group in sorted(snapshot.groups.items())]
    return {"snapshot": snapshot.id, "at": snapshot.at, "model_groups": groups}


def model_view(group: GroupSnapshot, runtime: Runtime) -> dict[str, Any]:
    """Return one model group with callers' preferences and its curated list."""
    view = group_view(group, runtime.providers, runtime.flaws, runtime.observed.latest)
    return with_choices(view, runtime.caller_preferences, runtime.settings.curated_list(group.model_group))
