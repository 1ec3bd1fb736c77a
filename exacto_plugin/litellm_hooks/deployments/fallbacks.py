"""Fallback lists in LiteLLM's three forms: entries, targets, suffixes.

The forms are names, dictionaries with ``model``, and ``{group: [names]}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from exacto_plugin.core.routing.policy import Resolution, Slug, split_slug

SUFFIXES_KEY = "exacto_suffixes"
"""Key of a fallback entry that carries the entry's own suffixes.

The routing hook reads it; it is removed before the request is sent upstream.
"""

Resolve = Callable[[str], Resolution]


def rewrite_fallbacks(fallbacks: list[Any], resolve: Resolve) -> list[Any]:
    """Give each fallback entry its own suffixes.

    Accepts LiteLLM's three forms: names, dictionaries with ``model``, and ``{group: [names]}``. A list without the
    plugin's suffixes, or with suffixes already assigned, is returned unchanged.
    """
    if not any(_carries_suffix(entry, resolve) for entry in fallbacks):
        return fallbacks
    # A hop inherits the keys of the hop before it, so every entry carries its own suffixes, also when it has none.
    if all(isinstance(entry, dict) and _is_mapping_form(entry) for entry in fallbacks):
        return [{group: [_entry(name, resolve) for name in names] for group, names in e.items()} for e in fallbacks]
    return [_entry(entry, resolve) for entry in fallbacks]


def fallback_entries(fallbacks: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of a fallback list, each as a mapping with ``model``.

    All of LiteLLM's forms are accepted.
    """
    for entry in fallbacks:
        mapped = isinstance(entry, dict) and _is_mapping_form(entry)
        for one in chain.from_iterable(entry.values()) if mapped else (entry,):
            yield one if isinstance(one, dict) else {"model": one}


def fallback_targets(fallbacks: Iterable[Any]) -> set[str]:
    """Return the models of a fallback list, in any of LiteLLM's forms."""
    return {str(entry.get("model")) for entry in fallback_entries(fallbacks)}


def fallback_entry(slug: Slug) -> dict[str, Any]:
    """Return the fallback entry of a slug."""
    return {"model": slug.base, SUFFIXES_KEY: ":".join(slug.suffixes)}


def _is_mapping_form(entry: dict[str, Any]) -> bool:
    return bool(entry) and all(isinstance(names, list) for names in entry.values())


def _carries_suffix(entry: Any, resolve: Resolve) -> bool:
    if isinstance(entry, str):
        return ":" in entry and bool(split_slug(entry, resolve).suffixes)
    if not isinstance(entry, dict):
        return False
    if _is_mapping_form(entry):
        return any(_carries_suffix(name, resolve) for names in entry.values() for name in names)
    return SUFFIXES_KEY not in entry and _carries_suffix(entry.get("model"), resolve)


def _entry(entry: Any, resolve: Resolve) -> Any:
    if isinstance(entry, str):
        return fallback_entry(split_slug(entry, resolve))
    if isinstance(entry, dict) and isinstance(entry.get("model"), str) and SUFFIXES_KEY not in entry:
        return {**entry, **fallback_entry(split_slug(entry["model"], resolve))}
    return entry
