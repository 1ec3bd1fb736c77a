"""Suffixed names in LiteLLM's model list.

They serve clients that look a name up before a request: with ``expose.variants`` in the list of models, and always in
the lookup of one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import SORTING_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTS = ("/v1/models", "/models")
"""Path endings under which LiteLLM lists models, for any root path."""


_ONE = "/models/"


def listed_model(path: str, root_path: str) -> tuple[str, str] | None:
    """Return the path before a model's name, and the name.

    None where the path is not a lookup of one model.
    """
    bare = path.removeprefix(root_path.rstrip("/"))
    head = next((head for head in (f"/v1{_ONE}", _ONE) if bare.startswith(head)), None)
    if head is None:
        return None
    name = bare.removeprefix(head)
    return path.removesuffix(name), name


def set_model_id(answer: dict[str, Any], name: str) -> bool:
    """Set the id of one listed model, in place; return False for other objects."""
    if "id" not in answer:
        return False
    answer["id"] = name
    return True


def add_variants(answer: dict[str, Any], suffixes: Iterable[str] = SORTING_SUFFIXES) -> bool:
    """Add suffixed variants behind each model of OpenAI's list, in place.

    The variants of ``x`` are ``x:exacto``, ``x:floor`` and ``x:nitro``. Wildcards and names with one of these suffixes
    get none.

    Args:
        answer: the body of the list.
        suffixes: suffixes that clients may send.

    Returns:
        True when the body is a list of models.
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
