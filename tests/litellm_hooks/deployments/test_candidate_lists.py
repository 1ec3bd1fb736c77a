"""Lists of candidates that are kept from request to request: the same candidates as built one by one."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.litellm_hooks.deployments.candidates import CandidateCache, candidate_of


def deployment(name: str, price: float = 1e-6, order: int | None = None) -> dict[str, Any]:
    """An entry of ``model_list``."""
    params = {"model": "openai/kimi", "input_cost_per_token": price, "output_cost_per_token": price, "order": order}
    return {"model_name": "kimi", "litellm_params": params, "model_info": {"id": name, "provider": f"p-{name}"}}


names = st.sampled_from([f"d{number}" for number in range(4)])
changes = st.tuples(
    st.sampled_from(["price", "order", "replace", "remove", "add", "copy", "cooldown", "none"]),
    names,
    st.integers(1, 9),
)


def changed(model_list: list[dict[str, Any]], change: tuple[str, str, int]) -> list[dict[str, Any]]:
    """Return the list after a change of the operator's, made as LiteLLM makes it: by new dictionaries."""
    kind, name, number = change
    rest = [one for one in model_list if one["model_info"]["id"] != name]
    if kind == "remove":
        return rest
    if kind == "add":
        return [*rest, deployment(name)]
    if kind == "copy":
        return copy.deepcopy(model_list)
    if kind == "price":
        return [deployment(name, number * 1e-6), *rest]
    if kind == "order":
        return [*rest, deployment(name, order=number)]
    if kind == "replace":  # the parameters inside the entry
        for one in model_list:
            if one["model_info"]["id"] == name:
                one["litellm_params"] = {**one["litellm_params"], "order": number}
    return model_list


@given(st.lists(changes, max_size=25), st.sampled_from([3, 20_000]))
def test_a_list_has_the_candidates_of_its_deployments(made: list[tuple[str, str, int]], limit: int) -> None:
    """After added, removed and changed deployments, copies, and requests with some of them only."""
    cache, model_list = CandidateCache(limit), [deployment("d0"), deployment("d1")]
    for change in made:
        model_list = changed(model_list, change)
        asked = [one for one in model_list if change[0] != "cooldown" or one["model_info"]["id"] != change[1]]
        for _ in range(3):
            for group in ("kimi", "other"):
                found = cache.all(asked, group)
                assert list(found) == [candidate_of(one, group) for one in asked]
                assert found.by_id == {candidate.id: candidate for candidate in found}


def test_the_same_deployments_are_one_list() -> None:
    """As LiteLLM's own dictionaries and as copies of them; another selection is another list."""
    cache, model_list = CandidateCache(), [deployment("d0"), deployment("d1")]
    known = cache.all(model_list, "kimi")
    assert cache.all(list(model_list), "kimi") is known
    assert cache.all(list(model_list), "kimi") is known
    assert cache.all(copy.deepcopy(model_list), "kimi") is known
    assert cache.all(model_list[:1], "kimi") is not known
    model_list[0]["litellm_params"] = {**model_list[0]["litellm_params"], "input_cost_per_token": 5e-6}
    assert cache.all(model_list, "kimi")[0].prompt_price == 5e-6


def test_copies_are_not_kept() -> None:
    """LiteLLM since 1.110 makes new dictionaries for every request: they are not held in memory."""
    cache, model_list = CandidateCache(), [deployment("d0"), deployment("d1")]
    cache.all(model_list, "kimi")
    before = len(cache._lists._by_dictionaries)
    for _ in range(5):
        cache.all(copy.deepcopy(model_list), "kimi")
    assert len(cache._lists._by_dictionaries) == before


def test_a_deployment_without_an_id_is_built_each_time() -> None:
    """An entry of a program may have no ``model_info``."""
    cache, nameless = CandidateCache(), {"litellm_params": {"model": "openai/kimi"}}
    assert list(cache.all([nameless], "kimi")) == [candidate_of(nameless, "kimi")]
