"""Rewriting request bodies."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.routing.policy import Resolution, Slug
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY, rewrite_fallbacks
from exacto_plugin.litellm_hooks.request.body import batch_slugs, needs_rewrite, rewrite_body


def resolve(name: str) -> Resolution:
    """Knows ``a`` and ``b``."""
    return Resolution.EXACT if name in ("a", "b") else Resolution.UNKNOWN


def hop(model: str, suffixes: str = "") -> dict[str, str]:
    """A fallback entry as the routing hook reads it."""
    return {"model": model, SUFFIXES_KEY: suffixes}


@pytest.mark.parametrize(
    ("body", "after", "slug"),
    [
        ({"model": "a:exacto"}, {"model": "a"}, Slug("a", ("exacto",))),
        ({"model": "zzz:exacto"}, {"model": "zzz:exacto"}, None),
        ({"model": "a", SUFFIXES_KEY: "floor"}, {"model": "a"}, None),
        (
            {"model": "a", "models": ["a", "b:exacto"]},
            {"model": "a", "fallbacks": [hop("b", "exacto")]},
            None,
        ),
        (
            {"models": ["a:floor", "b"]},
            {"model": "a", "fallbacks": [hop("b")]},
            Slug("a", ("floor",)),
        ),
        (
            {"model": "a", "fallbacks": ["b:nitro", "a"]},
            {"model": "a", "fallbacks": [hop("b", "nitro"), hop("a")]},
            None,
        ),
        ({"model": "a", "fallbacks": ["b"]}, {"model": "a", "fallbacks": ["b"]}, None),
        (
            {"model": "a", "fallbacks": [{"a": ["b:exacto"]}]},
            {"model": "a", "fallbacks": [{"a": [hop("b", "exacto")]}]},
            None,
        ),
        (
            {"model": "a", "fallbacks": [{"model": "b:floor", "temperature": 0}]},
            {"model": "a", "fallbacks": [{**hop("b", "floor"), "temperature": 0}]},
            None,
        ),
        (
            {"model": "a", "fallbacks": [{"model": "b", SUFFIXES_KEY: "floor"}]},
            {"model": "a", "fallbacks": [{"model": "b"}]},
            None,
        ),
        ({"model": "a:exacto,b:floor"}, {"model": "a,b"}, None),
        ({"model": "a", "models": [1]}, {"model": "a", "models": [1]}, None),
    ],
)
def test_rewrites(body: dict[str, Any], after: dict[str, Any], slug: Slug | None) -> None:
    """Suffixes come off, ``models`` becomes fallbacks, each entry keeps its own suffixes, nobody can forge them."""
    assert rewrite_body(body, resolve) == slug
    assert body == after


def test_configured_fallbacks_are_rewritten_once() -> None:
    """Doing it again to a list that was done already changes nothing."""
    once = rewrite_fallbacks([{"a": ["b:exacto", "b"]}], resolve)
    assert once == [{"a": [hop("b", "exacto"), hop("b")]}]
    assert rewrite_fallbacks(once, resolve) is once


def test_preferences_can_be_denied() -> None:
    """Where clients may not send preferences they are dropped; suffixes come off all the same."""
    body = {"model": "a:floor", "models": ["b"], "provider": {"sort": "price"}, "fallbacks": ["b"]}
    assert rewrite_body(body, resolve, preferences=False) == Slug("a", ("floor",))
    assert body == {"model": "a", "fallbacks": ["b"]}


def test_models_are_left_to_who_reads_them() -> None:
    """A model whose upstream understands ``models`` keeps the list, and its first name where none was given."""
    body: dict[str, Any] = {"models": ["a:floor", "b"]}
    assert rewrite_body(body, resolve, reads_models=lambda name: name == "a") == Slug("a", ("floor",))
    assert body == {"model": "a", "models": ["a:floor", "b"]}


def test_batches() -> None:
    """Every model of the comma-separated form has its own suffixes, also one that is asked twice."""
    assert batch_slugs("a:exacto, b:floor,a", resolve) == {
        "a": [Slug("a", ("exacto",)), Slug("a")],
        "b": [Slug("b", ("floor",))],
    }
    assert batch_slugs("a:exacto", resolve) is None
    assert batch_slugs(None, resolve) is None


def test_all_lists_are_marked_when_one_is() -> None:
    """LiteLLM hands an entry's keys on to the next hop, so no list may be silent about its suffixes."""
    assert rewrite_fallbacks([{"a": ["b:exacto"]}, {"b": ["a"]}], resolve) == [
        {"a": [hop("b", "exacto")]},
        {"b": [hop("a")]},
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["a:exacto", "b:floor", "a"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("model"), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["model", "models", "fallbacks", "messages", "tools", SUFFIXES_KEY]), json_values)
)
def test_any_json_is_survived(body: dict[str, Any]) -> None:
    """No JSON object makes the rewriting fail, and what it need not touch it does not touch."""
    before = copy.deepcopy(body)
    needed = needs_rewrite(body)
    rewrite_body(body, resolve)
    if not needed:
        assert body == before
    for key in ("messages", "tools"):
        assert body.get(key) == before.get(key)
