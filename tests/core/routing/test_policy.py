"""Slugs and precedence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.model import Sort
from exacto_plugin.core.routing.policy import Policy, Resolution, Slug, resolve_policy, split_slug

if TYPE_CHECKING:
    from collections.abc import Callable


def known(*names: str, wildcard: str | None = None) -> Callable[[str], Resolution]:
    """A resolver that knows ``names`` exactly and everything under ``wildcard`` by pattern."""

    def resolve(name: str) -> Resolution:
        if name in names:
            return Resolution.EXACT
        return Resolution.PATTERN if wildcard and name.startswith(wildcard) else Resolution.UNKNOWN

    return resolve


@pytest.mark.parametrize(
    ("asked", "base", "suffixes"),
    [
        ("x", "x", ()),
        ("x:exacto", "x", ("exacto",)),
        ("x:floor:exacto", "x", ("floor", "exacto")),
        ("x:exacto:floor", "x", ("exacto", "floor")),
        ("x:free:exacto", "x:free", ("exacto",)),
        ("x:exacto:free", "x:free", ("exacto",)),
        ("y:exacto", "y:exacto", ()),
        ("x:online", "x:online", ()),
        ("x:floor:nitro", "x:floor", ("nitro",)),
        ("llama:8b:nitro", "llama:8b", ("nitro",)),
        ("exacto", "exacto", ()),
        (":exacto", ":exacto", ()),
        ("w/any:exacto", "w/any", ("exacto",)),
        ("w/any:floor:exacto", "w/any", ("floor", "exacto")),
    ],
)
def test_split(asked: str, base: str, suffixes: tuple[str, ...]) -> None:
    """Our suffixes come off when the rest is known; the longest configured name wins; unknown names stay whole."""
    resolve = known("x", "x:free", "llama:8b", "x:floor" if asked == "x:floor:nitro" else "x", wildcard="w/")
    assert split_slug(asked, resolve) == Slug(base, suffixes)


def test_configured_name_with_suffix_wins() -> None:
    """An operator's own model called ``x:exacto`` is that model."""
    assert split_slug("x:exacto", known("x", "x:exacto")) == Slug("x:exacto")


@given(st.text(alphabet="ab:/", max_size=12), st.lists(st.sampled_from(["exacto", "floor", "nitro"]), max_size=4))
def test_split_then_join_gives_the_same_slug(base: str, suffixes: list[str]) -> None:
    """Nothing is lost: base and suffixes together are what the client wrote."""
    asked = ":".join([base, *suffixes])
    slug = split_slug(asked, known(base))
    assert ":".join([slug.base, *slug.suffixes]) == asked


@pytest.mark.parametrize(
    ("slug", "body", "default", "expected"),
    [
        (Slug("x"), None, Sort.AUTO, Policy(Sort.AUTO)),
        (Slug("x"), None, Sort.PRICE, Policy(Sort.PRICE)),
        (Slug("x", ("exacto",)), None, Sort.PRICE, Policy(Sort.EXACTO, explicit=True, curated=True)),
        (Slug("x", ("exacto", "floor")), None, Sort.AUTO, Policy(Sort.PRICE, explicit=True, curated=True)),
        (Slug("x", ("floor", "nitro")), None, Sort.AUTO, Policy(Sort.THROUGHPUT, explicit=True)),
        (Slug("x", ("nitro",)), Sort.LATENCY, Sort.AUTO, Policy(Sort.LATENCY, explicit=True)),
        (Slug("x", ("exacto",)), Sort.PRICE, Sort.AUTO, Policy(Sort.PRICE, explicit=True, curated=True)),
        (Slug("x"), Sort.EXACTO, Sort.PRICE, Policy(Sort.EXACTO, explicit=True)),
    ],
)
def test_precedence(slug: Slug, body: Sort | None, default: Sort, expected: Policy) -> None:
    """Body, then the last sorting suffix, then the default; the curated promise holds whatever sort wins."""
    assert resolve_policy(slug, body, default) == expected
