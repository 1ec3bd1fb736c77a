"""``expose.variants``: the list of models with the suffixed names, for clients that look a name up before they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.policy import SORTING_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTS = ("/v1/models", "/models")
"""Ends of the paths under which LiteLLM lists models, whatever its root path is."""


def add_variants(answer: dict[str, Any], suffixes: Iterable[str] = SORTING_SUFFIXES) -> bool:
    """Add ``x:exacto``, ``x:floor`` and ``x:nitro`` behind each ``x`` of OpenAI's list of models, in place.

    Wildcards and names that carry one of the suffixes already get none.

    Args:
        answer: the body of the list.
        suffixes: those that clients may send.

    Returns:
        Whether it was such a list.
    """
    listed = answer.get("data")
    if not isinstance(listed, list):
        return False
    known = {one.get("id") for one in listed if isinstance(one, dict)}
    suffixes = tuple(suffixes)
    told: list[Any] = []
    for one in listed:
        told.append(one)
        name = one.get("id") if isinstance(one, dict) else None
        if isinstance(name, str) and "*" not in name and not SORTING_SUFFIXES.keys() & set(name.split(":")[1:]):
            variants = (f"{name}:{suffix}" for suffix in suffixes)
            told += [{**one, "id": variant} for variant in variants if variant not in known]
    answer["data"] = told
    return True
