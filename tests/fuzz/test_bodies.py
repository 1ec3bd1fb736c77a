"""Rewriting a body: what is not ours stays, what is ours goes, and doing it again changes nothing."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from exacto_plugin.core.routing.policy import MOST_SUFFIXES, Resolution, Slug, split_slug
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY, rewrite_fallbacks
from exacto_plugin.litellm_hooks.request.body import MOST_NAMES, batch_slugs, needs_rewrite, rewrite_body
from tests.fuzz.bodies import OURS, batches, bodies, json_values, resolve, slugs
from tests.fuzz.examples import fuzz

_TOUCHED = frozenset({"model", "models", "fallbacks", "provider", SUFFIXES_KEY})


def _written(slug: Slug) -> str:
    return ":".join([slug.base, *slug.suffixes])


@fuzz(bodies(), st.booleans())
def test_only_what_is_ours_changes(body: dict[str, Any], preferences: bool) -> None:
    """Whatever else the body holds stays, and so does everything in a body that needs no rewriting."""
    before = copy.deepcopy(body)
    inside = {name: value for name, value in body.items() if name not in _TOUCHED}
    needed = needs_rewrite(body)
    slug = rewrite_body(body, resolve, preferences=preferences)
    assert {name: value for name, value in body.items() if name not in _TOUCHED} == inside
    assert inside == {name: value for name, value in before.items() if name not in _TOUCHED}
    assert set(body) <= set(before) | {"model", "fallbacks"}
    assert SUFFIXES_KEY not in body
    assert body.get("provider") == (before.get("provider") if preferences else None)
    if not needed:
        assert body == before
        assert slug is None


@fuzz(bodies())
def test_the_slug_is_what_was_sent(body: dict[str, Any]) -> None:
    """Base and suffixes together are the client's model name, of ``model`` or of the first of ``models``."""
    sent, listed = body.get("model"), body.get("models")
    slug = rewrite_body(body, resolve)
    if slug is None:
        return
    assert slug.suffixes
    assert set(slug.suffixes) <= set(OURS)
    assert body["model"] == slug.base
    asked = sent if isinstance(sent, str) else listed[0] if isinstance(listed, list) else None
    assert slug == split_slug(str(asked), resolve)


@fuzz(bodies())
def test_marks_are_made_once(body: dict[str, Any]) -> None:
    """Every mark in a rewritten body is ours, whatever the client forged, and marking again changes nothing."""
    rewrite_body(body, resolve)
    listed = body.get("fallbacks")
    marked = [
        entry
        for entry in (listed if isinstance(listed, list) else ())
        if isinstance(entry, dict) and SUFFIXES_KEY in entry
    ]
    once = copy.deepcopy(body)
    if isinstance(once.get("fallbacks"), list):
        once["fallbacks"] = rewrite_fallbacks(once["fallbacks"], resolve)
    assert once == body
    assert all(isinstance(entry[SUFFIXES_KEY], str) for entry in marked)
    assert all(part in OURS for entry in marked for part in entry[SUFFIXES_KEY].split(":") if part)


@fuzz(st.lists(slugs, max_size=4), st.none() | slugs, st.none() | st.lists(slugs, min_size=1, max_size=2))
def test_models_become_fallbacks_in_order(listed: list[str], model: str | None, fallbacks: list[str] | None) -> None:
    """Each name of ``models`` is asked in its turn with its own suffixes; fallbacks of the client's own come before."""
    body: dict[str, Any] = {"models": listed, **({"model": model} if model is not None else {})}
    if fallbacks is not None:
        body["fallbacks"] = fallbacks
    rewrite_body(body, resolve)
    if not listed:
        return
    assert "models" not in body
    if fallbacks is not None:
        return
    first = model if model is not None else listed[0]
    rest = listed if model is not None else listed[1:]
    asked = split_slug(first, resolve)
    wanted = [split_slug(name, resolve) for name in rest]
    if "," not in first:
        hops = [{"model": slug.base, SUFFIXES_KEY: ":".join(slug.suffixes)} for slug in wanted if slug != asked]
        assert body.get("fallbacks", []) == hops


@fuzz(batches)
def test_each_model_of_a_batch_keeps_its_suffixes(model: str) -> None:
    """LiteLLM's comma-separated form: as many slugs as models, and the body names their bases in order."""
    found = batch_slugs(model, resolve)
    assert found is not None
    body: dict[str, Any] = {"model": model}
    assert rewrite_body(body, resolve) is None
    parts = [split_slug(part.strip(), resolve) for part in model.split(",")]
    assert sorted(map(_written, (slug for group in found.values() for slug in group))) == sorted(map(_written, parts))
    if ":" in model:
        assert body["model"] == ",".join(part.base for part in parts)


@fuzz(st.lists(json_values(), max_size=5))
def test_any_fallbacks_are_survived(fallbacks: list[Any]) -> None:
    """No list makes it fail; the list itself is not changed, and one that was done comes back as it is."""
    before = copy.deepcopy(fallbacks)
    once = rewrite_fallbacks(fallbacks, resolve)
    assert fallbacks == before
    assert rewrite_fallbacks(once, resolve) == once


@fuzz(slugs, st.integers(0, 3_000), st.integers(0, 3_000), st.booleans())
def test_work_is_bounded(name: str, entries: int, suffixes: int, forms: bool) -> None:
    """However many names a client lists and suffixes it adds, few are looked up: it need not even have a key."""
    asked: list[str] = []

    def counted(each: str) -> Resolution:
        asked.append(each)
        return resolve(each)

    long = name + ":exacto" * suffixes
    fallbacks: list[Any] = [{"a": [long] * entries}] if forms else [long] * entries
    rewrite_body({"model": ",".join([name] * entries), "models": [name] * entries, "fallbacks": fallbacks}, counted)
    rewrite_body({"model": long}, counted)
    assert len(asked) <= 3 * (2 * MOST_NAMES + 1) * (MOST_SUFFIXES + 2)
