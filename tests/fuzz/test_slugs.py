"""Suffixes of model names: taken apart in one way only, and nothing is lost on the way."""

from __future__ import annotations

from hypothesis import strategies as st

from exacto_plugin.core.model import Sort
from exacto_plugin.core.routing.policy import Resolution, Slug, resolve_policy, split_slug
from tests.fuzz.bodies import OURS, WILDCARD, resolve, slugs
from tests.fuzz.examples import fuzz


@fuzz(slugs | st.text(max_size=12))
def test_any_name_is_split_and_stays_whole(name: str) -> None:
    """Every name has a slug, made of the same parts; what comes off is ours, and what is left is known or all of it."""
    slug = split_slug(name, resolve)
    assert sorted([*slug.base.split(":"), *slug.suffixes]) == sorted(name.split(":"))
    assert set(slug.suffixes) <= set(OURS)
    if slug.suffixes:
        assert resolve(slug.base) is not Resolution.UNKNOWN
    else:
        assert slug.base == name
    assert slug.curated == ("exacto" in slug.suffixes)


@fuzz(slugs)
def test_splitting_again_takes_nothing_more(name: str) -> None:
    """The base of a slug is a slug without suffixes."""
    slug = split_slug(name, resolve)
    assert split_slug(slug.base, resolve) == Slug(slug.base)


@fuzz(st.text(alphabet="ab:/", max_size=12), st.lists(st.sampled_from(OURS), max_size=4))
def test_split_then_join_gives_the_same_name(base: str, suffixes: list[str]) -> None:
    """With one name known, base and suffixes in their order are what the client wrote."""
    asked = ":".join([base, *suffixes])
    slug = split_slug(asked, lambda name: Resolution.EXACT if name == base else Resolution.UNKNOWN)
    assert ":".join([slug.base, *slug.suffixes]) == asked
    assert slug.suffixes == tuple(suffixes) or base == ""


@fuzz(st.sampled_from([*OURS, "free", "8b"]), st.lists(st.sampled_from(OURS), max_size=4))
def test_a_wildcard_never_sees_a_suffix_of_ours(tail: str, suffixes: list[str]) -> None:
    """A wildcard matches any name, so it is asked for the one without our suffixes."""
    slug = split_slug(":".join([f"{WILDCARD}x", tail, *suffixes]), resolve)
    assert not set(slug.base.split(":")) & set(OURS)


@fuzz(slugs, st.none() | st.sampled_from(Sort), st.sampled_from(Sort))
def test_the_policy_of_any_slug(name: str, body_sort: Sort | None, default: Sort) -> None:
    """Body, last suffix, default, in that order; a curated promise holds whatever sorts."""
    slug = split_slug(name, resolve)
    policy = resolve_policy(slug, body_sort, default)
    assert policy.sort is (body_sort or slug.sort or default)
    assert policy.curated == slug.curated
    assert policy.explicit == (body_sort is not None or bool(slug.suffixes))
