"""Rewrites the parsed body of a request: suffixes off the slug, ``models`` into LiteLLM's ``fallbacks``.

Pure: dictionaries in, dictionaries changed in place; no HTTP and no router.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exacto_plugin.core.policy import Resolution, Slug, split_slug

HOP_KEY = "exacto_suffixes"
"""Key of a fallback entry that carries the entry's own suffixes to the routing hook; stripped before any upstream."""

MOST_NAMES = 32
"""Names in one list of a client; a longer one is left as it is. LiteLLM tries 5 fallbacks (``ROUTER_MAX_FALLBACKS``).
Anybody may send a list, and measured with wildcards, looking up 10,000 names took 4 s."""

Resolve = Callable[[str], Resolution]

_OURS = frozenset({"models", "fallbacks", "provider", HOP_KEY})


def _nobody(_model: str) -> bool:
    return False


def rewrite_body(
    body: dict[str, Any], resolve: Resolve, *, preferences: bool = True, reads_models: Callable[[str], bool] = _nobody
) -> Slug | None:
    """Strip what is ours from ``body`` in place.

    Args:
        body: the parsed JSON object.
        resolve: how a name is known to the router.
        preferences: whether clients may send ``provider`` and ``models``; where not, both are dropped.
        reads_models: whether the upstream of a model reads a ``models`` list itself, so that it is left alone.

    Returns:
        The slug of the request when it carried one of our suffixes, else None. Whether the body changed can be seen
        by comparing: see :func:`needs_rewrite`.
    """
    body.pop(HOP_KEY, None)
    if not preferences:
        body.pop("provider", None)
        body.pop("models", None)
    slug = _strip_model(body, resolve)
    fallbacks = body.get("fallbacks")
    if isinstance(fallbacks, list):
        unforged = [_unforged(entry) for entry in fallbacks]
        body["fallbacks"] = rewrite_fallbacks(unforged, resolve) if _names_in(unforged) <= MOST_NAMES else unforged
    listed = body.get("models")
    if isinstance(listed, list) and 0 < len(listed) <= MOST_NAMES and all(isinstance(entry, str) for entry in listed):
        slug = _take_models(body, listed, slug, resolve, reads_models)
    return slug


def needs_rewrite(body: dict[str, Any]) -> bool:
    """Whether :func:`rewrite_body` could change anything; cheap, so that most requests are left alone."""
    model = body.get("model")
    return (isinstance(model, str) and (":" in model or "," in model)) or not _OURS.isdisjoint(body)


def _strip_model(body: dict[str, Any], resolve: Resolve) -> Slug | None:
    model = body.get("model")
    if not isinstance(model, str) or ":" not in model:
        return None
    if "," in model:  # LiteLLM's batch form: several models, one answer each; see batch_slugs
        if _is_batch(model):
            body["model"] = ",".join(slug.base for slug in _slugs(model, resolve))
        return None
    slug = split_slug(model, resolve)
    if not slug.suffixes:
        return None
    body["model"] = slug.base
    return slug


def batch_slugs(model: object, resolve: Resolve, group_of: Callable[[str], str] = str) -> dict[str, list[Slug]] | None:
    """The slugs of LiteLLM's comma-separated form by model group, in order; None for a single model, or too many.

    Args:
        model: the body's ``model``.
        resolve: how a name is known to the router.
        group_of: the model group behind a name, which may be an alias.
    """
    if not isinstance(model, str) or not _is_batch(model):
        return None
    slugs: dict[str, list[Slug]] = {}
    for slug in _slugs(model, resolve):
        slugs.setdefault(group_of(slug.base), []).append(slug)
    return slugs


def _is_batch(model: str) -> bool:
    return 0 < model.count(",") < MOST_NAMES


def _slugs(model: str, resolve: Resolve) -> list[Slug]:
    return [split_slug(part.strip(), resolve) for part in model.split(",")]


def _take_models(
    body: dict[str, Any], listed: list[str], slug: Slug | None, resolve: Resolve, reads_models: Callable[[str], bool]
) -> Slug | None:
    """OpenRouter's ``models``: the first is asked when ``model`` is missing, the others are fallbacks in order."""
    rest = list(listed)
    if not isinstance(body.get("model"), str):
        first = split_slug(rest.pop(0), resolve)
        body["model"] = first.base
        slug = first if first.suffixes else None
    if reads_models(body["model"]):
        return slug
    del body["models"]
    asked = (body["model"], slug.suffixes if slug else ())
    entries = [split_slug(entry, resolve) for entry in rest]
    hops = [_hop(entry) for entry in entries if (entry.base, entry.suffixes) != asked]
    if hops and not body.get("fallbacks"):
        body["fallbacks"] = hops
    return slug


def _hop(slug: Slug) -> dict[str, Any]:
    return {"model": slug.base, HOP_KEY: ":".join(slug.suffixes)}


def rewrite_fallbacks(fallbacks: list[Any], resolve: Resolve) -> list[Any]:
    """Give each entry its own suffixes; a list without any of ours, or done already, comes back as it is.

    Understands LiteLLM's three forms: names, dictionaries with ``model``, and ``{group: [names]}``.
    """
    if not any(_carries_suffix(entry, resolve) for entry in fallbacks):
        return fallbacks
    # Hops inherit the keys of the hop before them, so every entry says which suffixes it has, also none.
    if all(isinstance(entry, dict) and _is_mapping_form(entry) for entry in fallbacks):
        return [{group: [_entry(name, resolve) for name in names] for group, names in e.items()} for e in fallbacks]
    return [_entry(entry, resolve) for entry in fallbacks]


def _names_in(fallbacks: list[Any]) -> int:
    return sum(
        sum(map(len, entry.values())) if isinstance(entry, dict) and _is_mapping_form(entry) else 1
        for entry in fallbacks
    )


def _is_mapping_form(entry: dict[str, Any]) -> bool:
    return bool(entry) and all(isinstance(names, list) for names in entry.values())


def _carries_suffix(entry: Any, resolve: Resolve) -> bool:
    if isinstance(entry, str):
        return ":" in entry and bool(split_slug(entry, resolve).suffixes)
    if not isinstance(entry, dict):
        return False
    if _is_mapping_form(entry):
        return any(_carries_suffix(name, resolve) for names in entry.values() for name in names)
    return HOP_KEY not in entry and _carries_suffix(entry.get("model"), resolve)


def _unforged(entry: Any) -> Any:
    """A client's entry without our key, which only this module writes."""
    return {key: value for key, value in entry.items() if key != HOP_KEY} if isinstance(entry, dict) else entry


def _entry(entry: Any, resolve: Resolve) -> Any:
    if isinstance(entry, str):
        return _hop(split_slug(entry, resolve))
    if isinstance(entry, dict) and isinstance(entry.get("model"), str) and HOP_KEY not in entry:
        return {**entry, **_hop(split_slug(entry["model"], resolve))}
    return entry
