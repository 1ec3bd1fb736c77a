"""Hard filters: what each keeps, that they commute, and who is told to have left nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Snapshot, Sort
from exacto_plugin.core.routing.filters import (
    NAMES,
    NamedList,
    apply_filters,
    blocking_filters,
    matches,
    passes,
    reachable,
    unpriced,
)
from exacto_plugin.core.routing.ordering import RoutingRequest, decide
from exacto_plugin.core.routing.policy import Filter, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRE = Candidate(
    LiteLLMId("1"),
    DeploymentKey("fire"),
    "fireworks_ai/turbo",
    9e-6,
    None,
    3e-6,
    6e-6,
    "fp8",
    "deny",
    zdr=True,
    parameters=frozenset({"tools"}),
)
DARK = Candidate(LiteLLMId("2"), DeploymentKey("dark-key"), "dark")


@pytest.mark.parametrize(
    ("name", "value", "fire", "dark"),
    [
        ("only", ("Fireworks",), True, False),
        ("only", ("fireworks/turbo", "nobody"), True, False),
        ("only", ("fireworks/slow",), False, False),
        ("only", ("2",), False, True),
        ("curated", ("dark-key",), False, True),
        ("order", ("dark",), False, True),
        ("ignore", ("fire",), False, True),
        ("ignore", ("fireworks-ai",), False, True),
        ("max_price", (("prompt", 3.0),), True, False),
        ("max_price", (("prompt", 9.0), ("completion", 5.9)), False, False),
        ("quantizations", ("fp8",), True, False),
        ("quantizations", ("unknown",), False, True),
        ("data_collection", ("deny",), True, False),
        ("zdr", ("true",), True, False),
        ("require_parameters", ("tools",), True, False),
        ("require_parameters", ("seed", "tools"), False, False),
    ],
)
def test_what_a_filter_keeps(name: str, value: tuple[str, ...], fire: bool, dark: bool) -> None:
    """What nobody declared, and a price that nobody knows, promises nothing."""
    assert (passes(Filter(name, value), FIRE), passes(Filter(name, value), DARK)) == (fire, dark)


class Reads(tuple[str, ...]):
    """A list that counts how often it is read."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        """Begin another reading."""
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize("name", ["only", "ignore", "curated", "order"])
def test_a_list_is_read_once_for_all_deployments(name: str) -> None:
    """However many entries a client names."""
    entries = Reads([f"nobody-{place}" for place in range(500)])
    apply_filters([Filter(name, entries)], [FIRE, DARK] * 50)
    assert entries.times == 1


def test_an_order_is_read_once_for_all_deployments() -> None:
    """For the sort key of an explicit order too."""
    entries = Reads([f"nobody-{place}" for place in range(500)])
    policy = Policy(sort=Sort.ORDER, order=entries)
    candidates = [Candidate(LiteLLMId(f"{place}"), DeploymentKey(f"{place}"), "dark") for place in range(50)]
    decide(RoutingRequest("g", candidates, policy, tools=True), Snapshot("s", 0.0, {}), lambda: 0.0)
    assert entries.times == 1


NAMED = st.sampled_from(["", "a", "A", "a_ai", "a/b", "a/b/c", "b", "a b", "a-b", "1", "/", "/b"])


@given(st.lists(NAMED, max_size=6), NAMED, NAMED, NAMED)
def test_a_list_names_what_its_first_matching_entry_does(entries: list[str], id_: str, key: str, provider: str) -> None:
    """The index finds the place that walking the list does."""
    candidate = Candidate(LiteLLMId(id_), DeploymentKey(key), provider)
    first = next((place for place, entry in enumerate(entries) if matches(entry, candidate)), len(entries))
    assert NamedList(entries).place(candidate) == first
    assert NamedList(entries).names(candidate) is (first < len(entries))


@pytest.mark.parametrize("name", NAMES)
def test_a_malformed_filter_keeps_nobody(name: str) -> None:
    """Nobody knows what it would rule out."""
    malformed = Filter(name, (), "set for this key", "a list")
    assert apply_filters([malformed], [FIRE, DARK]) == []
    assert blocking_filters([malformed, Filter("only", ("nobody",))], [FIRE, DARK]) == (malformed,)


PROVIDERS = ("deepinfra", "deepinfra/turbo", "fireworks_ai", "Moonshot AI")
entries = st.lists(st.sampled_from([*PROVIDERS, "moonshot", "k1", "nobody"]), min_size=1, max_size=3).map(tuple)
filters = st.lists(
    st.one_of(
        st.builds(Filter, st.sampled_from(["curated", "only", "ignore"]), entries),
        st.builds(Filter, st.just("max_price"), st.floats(0, 5).map(lambda cap: (("prompt", cap),))),
        st.builds(Filter, st.just("quantizations"), st.sampled_from([("fp8",), ("fp8", "unknown")])),
        st.builds(Filter, st.just("zdr"), st.just(("true",))),
        st.builds(Filter, st.just("data_collection"), st.just(("deny",))),
        st.builds(Filter, st.just("require_parameters"), st.just(("tools",))),
    ),
    max_size=4,
)
candidates = st.lists(
    st.builds(
        Candidate,
        id=st.uuids().map(str),
        key=st.sampled_from([f"k{i}" for i in range(4)]),
        provider=st.sampled_from(PROVIDERS),
        prompt_price=st.none() | st.floats(0, 1e-5),
        quantization=st.sampled_from(["", "fp8", "int4"]),
        data_collection=st.sampled_from(["", "allow", "deny"]),
        zdr=st.booleans(),
        parameters=st.none() | st.sampled_from([frozenset({"tools"}), frozenset()]),
    ),
    unique_by=lambda c: c.id,
    max_size=8,
)


@given(filters, candidates, st.randoms())
def test_filters_commute(some: list[Filter], everybody: list[Candidate], random: object) -> None:
    """Whatever the order of the filters, the same are left, in the order they came in, and each of them passes all."""
    found = apply_filters(some, everybody)
    shuffled = list(some)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert apply_filters(shuffled, everybody) == found
    assert found == [one for one in everybody if all(passes(filter_, one) for filter_ in some)]


@given(filters, candidates)
def test_only_a_filter_leaves_nobody(some: list[Filter], everybody: list[Candidate]) -> None:
    """Nobody is left exactly when filters are named for it: they alone do it, and each of them is needed."""
    found = blocking_filters(some, everybody)
    assert bool(found) == (bool(everybody) and not apply_filters(some, everybody))
    if found:
        assert [one for one in some if any(one is other for other in found)] == list(found)
        assert not apply_filters(found, everybody)
        assert all(apply_filters([other for other in found if other is not one], everybody) for one in found)


def test_the_earliest_filters_are_named() -> None:
    """One that leaves nobody by itself is named alone; two that do so together are both named."""
    everybody = [
        Candidate(LiteLLMId("1"), DeploymentKey("1"), "a", zdr=True),
        Candidate(LiteLLMId("2"), DeploymentKey("2"), "b"),
    ]
    only_b, zdr, nobody = Filter("only", ("b",)), Filter("zdr", ("true",)), Filter("only", ("c",))
    assert blocking_filters([only_b, zdr], everybody) == (only_b, zdr)
    assert blocking_filters([nobody, only_b, zdr], everybody) == (nobody,)
    assert blocking_filters([only_b, zdr, nobody], everybody) == (only_b, zdr)
    assert blocking_filters([only_b], everybody) == ()


def test_whose_price_is_the_reason() -> None:
    """Only of those that a known price could let pass: not of what is too dear, or ruled out by another filter."""
    half = Candidate(LiteLLMId("3"), DeploymentKey("3"), "half", prompt_price=1e-6)
    dear = Candidate(LiteLLMId("4"), DeploymentKey("4"), "dear", prompt_price=9e-6)
    everybody = [FIRE, DARK, half, dear]
    caps = Filter("max_price", (("prompt", 2.0), ("completion", 2.0)))
    assert unpriced([caps], everybody) == [DARK, half]
    assert unpriced([caps, Filter("only", ("half", "dear", "fireworks"))], everybody) == [half]
    assert unpriced([Filter("max_price", (("prompt", 2.0),))], everybody) == [DARK]
    assert unpriced([Filter("only", ("nobody",))], everybody) == []


def test_every_filter_has_its_place() -> None:
    """What is no mapping is told first, then the curated list, names, price and declared properties."""
    assert NAMES[:5] == ("exacto", "curated", "only", "ignore", "max_price")


@pytest.mark.parametrize(
    ("policy", "asked", "reached"),
    [
        (Policy(), {"1"}, {"1", "2"}),
        (Policy(allow_fallbacks=False), set(), {"1", "2"}),
        (Policy(allow_fallbacks=False), {"1"}, {"1"}),
        (Policy(allow_fallbacks=False, order=("dark",)), {"1"}, {"1", "2"}),
    ],
)
def test_who_can_be_reached(policy: Policy, asked: set[str], reached: set[str]) -> None:
    """Without fallbacks whoever was asked first; a list is a filter of its own."""
    assert {one.id for one in (FIRE, DARK) if reachable(policy, one, asked)} == reached
