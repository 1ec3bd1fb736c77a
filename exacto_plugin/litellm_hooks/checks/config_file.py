"""Checks of a whole ``config.yaml``: where our block and our line stand."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from exacto_plugin.config.settings import BLOCK
from exacto_plugin.config.sources import CONFIG_VARIABLE, read_config
from exacto_plugin.litellm_hooks.checks.model_list import model_list_problems
from exacto_plugin.litellm_hooks.request.caller_config import caller_problems

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.config.settings import Settings

Config = Mapping[str, object]

CALLBACK: Final = "exacto_plugin.callback"
"""The line that loads the plugin."""

_SECTIONS: Final = ("general_settings", "litellm_settings", "router_settings")
_TOP_LEVEL: Final = (
    *_SECTIONS, "model_list", "environment_variables", "include", "mcp_servers", "guardrails", "credential_list",
    "callback_settings", "search_tools", "vector_store_registry", "assistant_settings", "finetune_settings",
    "files_settings", "cache_params", "prompts", "agent_list", "policies", "worker_config",
)  # fmt: skip
"""Keys of LiteLLM's own, which resemble no misspelt key of ours."""


def read_merged(path: Path, seen: frozenset[Path] = frozenset()) -> Config:
    """Read a configuration with its ``include`` files, merged as LiteLLM does.

    Lists are joined, any other value of an included file counts.

    Raises:
        SettingsError: one of the files cannot be read.
    """
    merged: dict[str, object] = dict(read_config(path))
    parts = merged.get("include")
    for name in parts if isinstance(parts, list) else ():
        part = path.parent / str(name)
        if part in seen:
            continue
        for key, value in read_merged(part, seen | {path, part}).items():
            own = merged.get(key)
            merged[key] = [*own, *value] if isinstance(own, list) and isinstance(value, list) else value
    return merged


def start_problems(config: Config, settings: Settings) -> list[str]:
    """Return what cripples a proxy with this configuration, one line each.

    Nothing outside of the configuration is looked at. Model groups in LiteLLM's database are not in it, so the names of
    model groups are not checked where LiteLLM keeps models there.
    """
    problems = [*misplaced_blocks(config), *caller_problems(config)]
    return problems if _has_models_elsewhere(config) else [*problems, *model_list_problems(config, settings)]


def _has_models_elsewhere(config: Config) -> bool:
    general = config.get("general_settings")
    stored = isinstance(general, Mapping) and general.get("store_model_in_db") is True
    return stored or os.environ.get("STORE_MODEL_IN_DB", "").lower() == "true"


def misplaced_blocks(config: Config) -> list[str]:
    """Return the blocks that look like ours and are not read."""
    return [
        f"{where} is not read: {remedy}"
        for where, key in _suspects(config)
        for remedy in (
            f"{BLOCK}: belongs at the top level of the file"
            if key == BLOCK
            else f"the block is called {BLOCK}: and belongs at the top level of the file",
        )
    ]


def _suspects(config: Config) -> Iterator[tuple[str, str]]:
    """Yield place and key of blocks that are meant for the plugin."""
    for key in config:
        if key != BLOCK and key not in _TOP_LEVEL and _means_ours(key):
            yield f"{key}:", str(key)
    for section in _SECTIONS:
        inside = config.get(section)
        for key in inside if isinstance(inside, Mapping) else ():
            if key == BLOCK or _means_ours(key):
                yield f"{section}.{key}", str(key)


def _means_ours(key: object) -> bool:
    text = str(key).lower().replace("-", "_")
    return text.startswith("exacto") or bool(get_close_matches(text, [BLOCK], cutoff=0.8))


def callback_problems(config: Config) -> list[str]:
    """Return why the plugin is not loaded; empty if it is."""
    if CALLBACK in callbacks_of(config):
        return []
    section = config.get("litellm_settings")
    elsewhere = [
        f"{name}.{key}"
        for name in _SECTIONS
        for key, value in _items(config.get(name))
        if (name, key) != ("litellm_settings", "callbacks")
        and CALLBACK in (value if isinstance(value, list) else [value])
    ]
    if elsewhere:
        return [f"{elsewhere[0]} names {CALLBACK}; it belongs in litellm_settings.callbacks, so nothing is loaded"]
    near = get_close_matches(CALLBACK, callbacks_of(config), n=1, cutoff=0.6)
    written = f" (it has {near[0]!r})" if near else ""
    add = "" if isinstance(section, Mapping) else f'; add litellm_settings: {{callbacks: ["{CALLBACK}"]}}'
    return [f'litellm_settings.callbacks does not name "{CALLBACK}"{written}, so nothing is loaded{add}']


def callbacks_of(config: Config) -> Sequence[str]:
    """Return the names under ``litellm_settings.callbacks``."""
    settings = config.get("litellm_settings")
    named = settings.get("callbacks") if isinstance(settings, Mapping) else None
    return [named] if isinstance(named, str) else [str(one) for one in named] if isinstance(named, list) else []


def _items(section: object) -> Iterator[tuple[object, object]]:
    if isinstance(section, Mapping):
        yield from section.items()


def unset_variables(config: Config) -> list[str]:
    """Return the environment variables that deployments refer to and that are not set."""
    names: dict[str, None] = {}
    listed = config.get("model_list")
    for entry in listed if isinstance(listed, list) else ():
        params = entry.get("litellm_params") if isinstance(entry, Mapping) else None
        for _, value in _items(params):
            if isinstance(value, str) and value.startswith("os.environ/"):
                names[value.removeprefix("os.environ/")] = None
    return [name for name in names if name not in os.environ]


def unused_block(config: Config) -> list[str]:
    """Return a note where ``EXACTO_CONFIG`` replaces the block of the file."""
    named = os.environ.get(CONFIG_VARIABLE)
    if not named or BLOCK not in config:
        return []
    return [f"{BLOCK}: is not read, because {CONFIG_VARIABLE} names {named}"]
