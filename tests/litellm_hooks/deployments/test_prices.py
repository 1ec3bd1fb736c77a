"""Prices of deployments are those that LiteLLM counts spend by, and finding them reaches nothing outside."""

from __future__ import annotations

import socket
import uuid
from typing import Any

import litellm
import pytest
from litellm.types.utils import LlmProviders

from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.deployments.prices import prices_of

LISTED = [
    "gpt-5",
    "openai/gpt-5",
    "openai/gpt-4o",
    "openai/gpt-4o-2024-08-06",
    "openai/ft:gpt-4o-2024-08-06:org::id",
    "ft:gpt-4o-2024-08-06:org::id",
    "claude-sonnet-4-5",
    "anthropic/claude-sonnet-4-5",
    "anthropic/claude-sonnet-4-5-20250929",
    "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock/us-east-1/anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock/us-gov-west-1/anthropic.claude-sonnet-4-5-20250929-v1:0",
    "bedrock/converse/moonshot.kimi-k2-thinking",
    "vertex_ai/gemini-2.5-pro",
    "vertex_ai/claude-sonnet-4-5@20250929",
    "vertex_ai/moonshotai/kimi-k2-thinking-maas",
    "vertex_ai/meta/llama-3.1-405b-instruct-maas",
    "gemini/gemini-2.5-pro",
    "groq/openai/gpt-oss-120b",
    "fireworks_ai/accounts/fireworks/models/kimi-k2-instruct",
    "together_ai/moonshotai/Kimi-K2-Instruct",
    "deepinfra/moonshotai/Kimi-K2-Instruct",
    "mistral/mistral-large-latest",
    "deepseek/deepseek-chat",
    "azure/gpt-4o",
    "azure/eu/gpt-4o-2024-08-06",
    "azure_ai/gpt-5",
    "novita/moonshotai/kimi-k2-thinking",
    "zai/glm-4.6",
    "perplexity/sonar",
    "dashscope/qwen3-max",
    "ollama/llama2",
]
"""Names as operators write them; the list of LiteLLM has some of them otherwise, and the last for nothing."""

TOKENS = 1000


def deployment(model: str, **params: Any) -> dict[str, Any]:
    """A ``model_list`` entry."""
    return {"model_name": "g", "litellm_params": {"model": model, **params}, "model_info": {"id": "d"}}


def counted(model: str, **more: Any) -> tuple[float, float]:
    """USD of prompt and completion, by LiteLLM's own account."""
    prompt, completion = litellm.cost_per_token(model, prompt_tokens=TOKENS, completion_tokens=TOKENS, **more)
    return prompt, completion


def ours(entry: dict[str, Any]) -> tuple[float, float]:
    """The same by the prices of the deployment's candidate."""
    candidate = candidate_of(entry)
    assert candidate.prompt_price is not None
    assert candidate.completion_price is not None
    return candidate.prompt_price * TOKENS, candidate.completion_price * TOKENS


@pytest.mark.parametrize("model", LISTED)
def test_a_price_is_the_one_that_litellm_counts(model: str) -> None:
    """By whatever name the model is written; an explicit 0 of the list is a price."""
    assert ours(deployment(model)) == pytest.approx(counted(model))


@pytest.mark.parametrize(
    ("provider", "model"),
    [("azure", "gpt-4o"), ("openai", "gpt-5"), ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0")],
)
def test_the_provider_may_stand_beside_the_model(provider: str, model: str) -> None:
    """``custom_llm_provider`` says whose price it is."""
    assert ours(deployment(model, custom_llm_provider=provider)) == pytest.approx(
        counted(model, custom_llm_provider=provider)
    )


@pytest.mark.parametrize(
    ("model", "base"), [("azure/mine", "azure/gpt-4o"), ("azure/mine", "gpt-4o"), ("openai/own", "gpt-5")]
)
@pytest.mark.parametrize("where", ["litellm_params", "model_info"])
def test_a_base_model_is_what_is_paid_for(model: str, base: str, where: str) -> None:
    """An Azure deployment has a name of the operator's own."""
    entry = deployment(model)
    assert candidate_of(entry).price is None
    entry[where]["base_model"] = base
    assert ours(entry) == pytest.approx(counted(base, custom_llm_provider=model.partition("/")[0]))


def test_a_base_model_that_nobody_knows_leaves_the_models_own_price() -> None:
    """As LiteLLM goes on with the next name that it has."""
    assert ours(deployment("openai/gpt-5", base_model="nothing-here")) == pytest.approx(counted("openai/gpt-5"))


def test_a_region_may_have_a_price_of_its_own() -> None:
    """Of Bedrock."""
    model, region = "anthropic.claude-sonnet-4-5-20250929-v1:0", "us-gov-west-1"
    there = counted(model, custom_llm_provider="bedrock", region_name=region)
    assert there != counted(f"bedrock/{model}")
    assert ours(deployment(f"bedrock/{model}", aws_region_name=region)) == pytest.approx(there)
    assert ours(deployment(f"bedrock/{model}", aws_region_name="us-east-1")) == pytest.approx(counted(model))


@pytest.mark.parametrize(
    "model",
    [
        "openai/nothing-here",
        "azure/mine",
        "openai/*",
        "*",
        "",
        "ollama/nothing-here",
        "openrouter/anthropic/claude-nothing-here",
        "bedrock/us-east-1/1-month-commitment/anthropic.claude-v2:1",
        "medlm-large",
    ],
)
def test_what_litellm_does_not_count_by_tokens_has_no_price(model: str) -> None:
    """Unknown models, wildcards, and what is paid for by the second or the character."""
    assert prices_of({"model": model}, {}) == (None, None, None)


def test_a_deployments_own_prices_win() -> None:
    """In either place, 0 included, one by one; prices in other units leave none of the list."""
    listed = prices_of({"model": "openai/gpt-5"}, {})
    assert prices_of({"model": "openai/gpt-5", "input_cost_per_token": 0}, {}) == listed._replace(prompt=0.0)
    assert prices_of({"model": "openai/gpt-5"}, {"output_cost_per_token": "2e-6"}) == listed._replace(completion=2e-6)
    tiers = [{"range": [0, 1000], "input_cost_per_token": 1e-6, "output_cost_per_token": 3e-6}]
    assert prices_of({"model": "openai/gpt-5"}, {"tiered_pricing": tiers})[:2] == (1e-6, 3e-6)
    assert prices_of({"model": "openai/gpt-5", "input_cost_per_second": 0.01}, {}) == (None, None, None)
    assert prices_of({"model": "openai/gpt-5", "input_cost_per_token": "free"}, {}).prompt is None


def test_a_router_makes_no_unknown_model_free() -> None:
    """A router registers each of its deployments, and ``get_model_info`` then tells of a price of 0."""
    name = f"openai/{uuid.uuid4().hex}"
    litellm.Router(model_list=[deployment(name, api_key="k", api_base="http://127.0.0.1:1")])
    assert litellm.get_model_info(name)["input_cost_per_token"] == 0
    assert prices_of({"model": name}, {}) == (None, None, None)


def test_a_price_that_changes_is_seen_and_a_key_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses ask for prices too, and LiteLLM's look-up takes up to a millisecond."""
    name = uuid.uuid4().hex
    params = {"model": f"openai/{name}"}
    assert prices_of(params, {}).prompt is None
    litellm.register_model({name: {"input_cost_per_token": 1e-6, "litellm_provider": "openai", "mode": "chat"}})
    assert prices_of(params, {}).prompt == 1e-6
    asked: list[str] = []
    look_up = litellm.get_model_info

    def get_model_info(model: str, custom_llm_provider: str) -> Any:
        asked.append(model)
        return look_up(model, custom_llm_provider)

    monkeypatch.setattr(litellm, "get_model_info", get_model_info)
    litellm.model_cost[name]["input_cost_per_token"] = 2e-6
    assert prices_of(params, {}).prompt == 2e-6
    assert asked == []
    monkeypatch.setattr(litellm, "model_cost", {name: {"input_cost_per_token": 3e-6}})
    assert prices_of(params, {}).prompt == 3e-6
    assert asked != []


def test_no_look_up_reaches_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM asks the servers of some providers what they have."""
    reached: list[object] = []

    def refuse(*args: object, **_: object) -> Any:
        reached.append(args)
        raise OSError("not in a test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for provider in LlmProviders:
        for model in (f"{provider.value}/nothing-here", "nothing-here"):
            prices_of({"model": model, "custom_llm_provider": provider.value}, {"base_model": f"{model}-base"})
    assert reached == []
