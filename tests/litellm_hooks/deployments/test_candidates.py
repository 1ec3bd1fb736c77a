"""Who is who."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.core.routing.filters import matches
from exacto_plugin.litellm_hooks.deployments.candidates import (
    CandidateCache,
    candidate_of,
    model_fingerprint,
    provider_of,
)


def deployment(model: str = "openai/m", model_id: str = "a" * 64, **params: Any) -> dict[str, Any]:
    """A ``model_list`` entry as LiteLLM keeps it."""
    return {
        "model_name": "g",
        "litellm_params": {"model": model, **params},
        "model_info": {"id": model_id},
    }


@pytest.mark.parametrize(
    ("params", "info", "provider"),
    [
        ({"model": "openai/m", "api_base": "https://api.deepinfra.com/v1/openai"}, {}, "deepinfra"),
        ({"model": "openai/m", "api_base": "http://127.0.0.1:8001/v1"}, {}, "127.0.0.1:8001"),
        ({"model": "openai/m", "api_base": "http://vllm-a:8000"}, {}, "vllm-a:8000"),
        ({"model": "openai/m", "api_base": "https://x.api.co.uk/v1"}, {}, "api"),
        ({"model": "fireworks_ai/m"}, {}, "fireworks_ai"),
        ({"model": "fireworks_ai/m", "api_base": "https://proxy.corp.example"}, {}, "fireworks_ai"),
        ({"model": "gpt-4o"}, {}, "openai"),
        ({"model": "m", "custom_llm_provider": "groq"}, {}, "groq"),
        ({"model": "openai/m", "api_base": "https://api.x.ai/v1"}, {"provider": "My Own"}, "My Own"),
    ],
)
def test_provider(params: dict[str, Any], info: dict[str, Any], provider: str) -> None:
    """The operator's word, else LiteLLM's provider, else the owner of the API host."""
    assert provider_of(params, info) == provider


def test_a_rotated_key_keeps_the_history() -> None:
    """LiteLLM's generated id changes with the key; ours does not, and two hosts stay two."""
    one = candidate_of(deployment(model_id="a" * 64, api_base="https://api.h1.com", api_key="k1"))
    two = candidate_of(deployment(model_id="b" * 64, api_base="https://api.h1.com", api_key="k2"))
    other = candidate_of(deployment(model_id="c" * 64, api_base="https://api.h2.com", api_key="k1"))
    assert one.key == two.key != other.key
    assert one.id != two.id
    assert "k1" not in one.key


AT = "https://api.h1.com/v1"


@pytest.mark.parametrize(
    ("params", "info", "same"),
    [
        ({"api_base": AT}, {}, True),
        ({"api_base": "https://user:secret@API.h1.com/v1/?key=k2#x"}, {}, True),
        ({"api_base": AT, "api_key": "k2", "rpm": 5, "weight": 2, "input_cost_per_token": 1e-6}, {}, True),
        ({"api_base": AT, "api_version": "", "extra_body": {}}, {"provider": "p", "updated_at": "now"}, True),
        ({"api_base": "https://api.h1.com/v2"}, {}, False),
        ({"api_base": "https://api.h1.com:8443/v1"}, {}, False),
        ({"api_base": AT, "model": "openai/other"}, {}, False),
        ({"api_base": AT, "custom_llm_provider": "hosted_vllm"}, {}, False),
        ({"api_base": AT, "api_version": "2026-01-01"}, {}, False),
        ({"api_base": AT, "aws_region_name": "eu-west-1"}, {}, False),
        ({"api_base": AT}, {"quantization": "fp4"}, False),
        ({"api_base": AT, "quantization": "fp4"}, {}, False),
        ({"api_base": AT}, {"base_model": "m2"}, False),
        ({"api_base": AT, "extra_body": {"provider": {"order": ["x"]}}}, {}, False),
        ({}, {}, False),
    ],
)
def test_what_a_deployment_really_is(params: dict[str, Any], info: dict[str, Any], same: bool) -> None:
    """Model, place, version and quantization tell; keys, prices, limits and names do not."""
    other = deployment(**params)
    other["model_info"] |= info
    assert (model_fingerprint(other) == model_fingerprint(deployment(api_base=AT, api_key="k1"))) is same


def test_the_kind_of_quantization_tells_wherever_it_stands() -> None:
    """In LiteLLM's parameters or in the model's information."""
    beside = deployment()
    beside["model_info"]["quantization"] = "fp4"
    assert (
        model_fingerprint(beside)
        == model_fingerprint(deployment(quantization="fp4"))
        != model_fingerprint(deployment(quantization="fp8"))
    )


def test_an_operators_id_is_the_key() -> None:
    """``model_info.id`` set by the operator is used as it is."""
    assert candidate_of(deployment(model_id="k2-fast")).key == "k2-fast"


def test_a_wildcard_has_a_history_per_model() -> None:
    """Under ``openai/*`` each model that was asked for is measured by itself."""
    entry = {**deployment(model_id="w"), "model_name": "openai/*"}
    assert candidate_of(entry, "openai/x").key != candidate_of(entry, "openai/y").key


def test_price() -> None:
    """Prompt plus completion; unknown when either is."""
    assert candidate_of(deployment(input_cost_per_token=1e-6, output_cost_per_token=2e-6)).price == pytest.approx(3e-6)
    assert candidate_of(deployment(input_cost_per_token=1e-6)).price is None
    assert candidate_of(deployment(input_cost_per_token=1e-6, output_cost_per_token=10**400)).price is None


@pytest.mark.parametrize(
    ("entry", "fits"),
    [("fireworks", True), ("Fireworks AI", True), ("fire", False), ("dep-1", True), ("moonshotai", False)],
)
def test_curated_entry(entry: str, fits: bool) -> None:
    """Providers match without regard to case and LiteLLM's ``_ai``; ids match exactly."""
    assert matches(entry, Candidate(LiteLLMId("x"), DeploymentKey("dep-1"), "fireworks_ai")) is fits


def test_a_base_slug_means_all_endpoints() -> None:
    """``deepinfra`` means ``deepinfra/turbo`` too, not the other way round."""
    assert matches("deepinfra", Candidate(LiteLLMId("x"), DeploymentKey("x"), "deepinfra/turbo"))
    assert not matches("deepinfra/turbo", Candidate(LiteLLMId("x"), DeploymentKey("x"), "deepinfra"))
    assert matches("Fireworks", Candidate(LiteLLMId("x"), DeploymentKey("x"), "fireworks_ai/turbo"))


def test_cache_follows_changed_parameters() -> None:
    """A deployment whose parameters LiteLLM replaced is read anew."""
    cache = CandidateCache()
    entry = deployment(model_id="d", order=1)
    assert cache.get(entry, "g") is cache.get(entry, "g")
    entry["litellm_params"] = {**entry["litellm_params"], "order": 2}
    assert cache.get(entry, "g").level == 2


def test_cache_knows_a_deployment_by_what_it_has() -> None:
    """LiteLLM may make new dictionaries for every request; another price or limit of the operator's counts."""
    cache = CandidateCache()
    known = cache.get(deployment(model_id="d", order=1), "g")
    assert cache.get(deployment(model_id="d", order=1), "g") is known
    for changed in (deployment(model_id="d", order=2), {**deployment(model_id="d"), "model_name": "*"}):
        assert cache.get(changed, "g") == candidate_of(changed, "g") != known
    priced = deployment(model_id="d", order=1)
    priced["model_info"] |= {"quantization": "fp8"}
    assert cache.get(priced, "g").quantization == "fp8"
