"""Suffixed names in LiteLLM's catalogue, for clients that look a name up before they ask: in the list of models with
``expose.variants``, and one model by its name always."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import SORTING_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTS = ("/v1/models", "/models")
"""Ends of the paths under which LiteLLM lists models, whatever its root path is."""


_ONE = "/models/"


def listed_model(path: str, root_path: str) -> tuple[str, str] | None:
    """The path before a model's name, and the name, where the path asks for one model of the catalogue."""
    bare = path.removeprefix(root_path.rstrip("/"))
    head = next((head for head in (f"/v1{_ONE}", _ONE) if bare.startswith(head)), None)
    if head is None:
        return None
    name = bare.removeprefix(head)
    return path.removesuffix(name), name


def set_model_id(answer: dict[str, Any], name: str) -> bool:
    """Give one model of the catalogue the name that was asked for, in place; False when it is no model."""
    if "id" not in answer:
        return False
    answer["id"] = name
    return True


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
