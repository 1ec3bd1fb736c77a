"""Rewriting of a parsed request body: suffixes, ``models`` and ``fallbacks``.

Suffixes are stripped from the slug, and ``models`` becomes LiteLLM's ``fallbacks``. Dictionaries are changed in place.
Does no I/O and reads no router.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.routing.policy import Slug, split_slug
from exacto_plugin.litellm_hooks.deployments.fallbacks import (
    SUFFIXES_KEY,
    Resolve,
    fallback_entries,
    fallback_entry,
    rewrite_fallbacks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MOST_NAMES = 32
"""Most names in one list of a client; a longer list is left unchanged.

LiteLLM tries 5 fallbacks (``ROUTER_MAX_FALLBACKS``). Any client may send a list, and looking up 10,000 names took 4 s
(measured with wildcards)."""

_OUR_KEYS = frozenset({"models", "fallbacks", "provider", SUFFIXES_KEY})


def _no_group(_model: str) -> bool:
    return False


def rewrite_body(
    body: dict[str, Any],
    resolve: Resolve,
    *,
    preferences: bool = True,
    reads_models: Callable[[str], bool] = _no_group,
    ranked: Callable[[list[Slug]], list[Slug]] = list,
) -> Slug | None:
    """Strip the plugin's suffixes and keys from ``body`` in place.

    Args:
        body: the parsed JSON object.
        resolve: resolves a name against the router.
        preferences: whether clients may send ``provider`` and ``models``; both are dropped where they may not.
        reads_models: whether the upstream of a model reads a ``models`` list itself, so the list is kept.
        ranked: puts the models of a ``models`` list into the order in which they are tried.

    Returns:
        The slug of the request when it carried one of the plugin's suffixes, else None. Compare ``body`` with a copy to
        detect a change; see :func:`needs_rewrite`.
    """
    body.pop(SUFFIXES_KEY, None)
    forbidden = {SUFFIXES_KEY} if preferences else {SUFFIXES_KEY, "provider", "models"}
    for key in forbidden:
        body.pop(key, None)
    slug = _strip_model(body, resolve)
    fallbacks = body.get("fallbacks")
    if isinstance(fallbacks, list):
        unforged = _own_preferences([_without(entry, forbidden) for entry in fallbacks], body.get("provider"))
        body["fallbacks"] = (
            rewrite_fallbacks(unforged, resolve)
            if sum(1 for _ in islice(fallback_entries(unforged), MOST_NAMES + 1)) <= MOST_NAMES
            else unforged
        )
    listed = body.get("models")
    if isinstance(listed, list) and 0 < len(listed) <= MOST_NAMES and all(isinstance(entry, str) for entry in listed):
        slug = _take_models(body, listed, slug, resolve, reads_models, ranked)
    _disable_fallbacks(body, reads_models)
    return slug


def _disable_fallbacks(body: dict[str, Any], reads_models: Callable[[str], bool]) -> None:
    """Turn configured fallbacks off under ``allow_fallbacks: false``.

    Fallbacks that the client listed remain in force.
    """
    provider = body.get("provider")
    alone = isinstance(provider, dict) and provider.get("allow_fallbacks") is False and not body.get("fallbacks")
    if alone and isinstance(body.get("model"), str) and not reads_models(body["model"]):
        body["disable_fallbacks"] = True


def needs_rewrite(body: dict[str, Any]) -> bool:
    """Return whether :func:`rewrite_body` could change the body.

    The check is cheap, so most requests are not rewritten at all.
    """
    model = body.get("model")
    return (isinstance(model, str) and (":" in model or "," in model)) or any(key in body for key in _OUR_KEYS)


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
    """Return the slugs of LiteLLM's comma-separated form by model group, in order.

    None for a single model and for more than ``MOST_NAMES`` models.

    Args:
        model: the body's ``model``.
        resolve: resolves a name against the router.
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
    body: dict[str, Any],
    listed: list[str],
    slug: Slug | None,
    resolve: Resolve,
    reads_models: Callable[[str], bool],
    ranked: Callable[[list[Slug]], list[Slug]],
) -> Slug | None:
    """Apply OpenRouter's ``models``: a first model, then fallbacks in order.

    The first entry is requested when ``model`` is missing.
    """
    rest = list(listed)
    if not isinstance(body.get("model"), str):
        first = split_slug(rest.pop(0), resolve)
        body["model"] = first.base
        slug = first if first.suffixes else None
    if reads_models(body["model"]):
        return slug
    del body["models"]
    asked = slug or Slug(body["model"])
    others = [entry for entry in (split_slug(entry, resolve) for entry in rest) if entry != asked]
    if not others or body.get("fallbacks"):
        return slug
    first, *others = ranked([asked, *others])
    body["model"] = first.base
    body["fallbacks"] = [fallback_entry(entry) for entry in others]
    return first if first.suffixes else None


def _own_preferences(fallbacks: list[Any], provider: object) -> list[Any]:
    """Give each entry a ``provider`` object: its own, else the request's.

    LiteLLM passes an entry's fields on to the next entry, so each entry carries its own once any entry has one.
    """
    if not any(isinstance(entry, dict) and "provider" in entry for entry in fallbacks):
        return fallbacks
    entries = [{"model": entry} if isinstance(entry, str) else entry for entry in fallbacks]
    return [{"provider": provider, **entry} if isinstance(entry, dict) else entry for entry in entries]


def _without(entry: Any, keys: Collection[str]) -> Any:
    """Remove keys that a client may not send from a fallback entry.

    ``SUFFIXES_KEY`` is among them: only this module writes it.
    """
    if not isinstance(entry, dict) or not any(key in entry for key in keys):
        return entry
    return {key: value for key, value in entry.items() if key not in keys}
