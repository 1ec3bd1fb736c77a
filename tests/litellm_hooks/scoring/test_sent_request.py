"""What reached the provider is read in every form in which LiteLLM logs it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY
from exacto_plugin.litellm_hooks.scoring.sent_request import SentRequest

TOOL = {"type": "function", "function": {"name": "f"}}
SEARCH = {"systemTool": {"name": "nova_grounding"}}


def sent(body: object = None, **details: Any) -> SentRequest:
    """The request of a log event."""
    return SentRequest({"additional_args": {"complete_input_dict": body}, **details})


@pytest.mark.parametrize("body", [{"tool_choice": "required"}, {"function_call": "required"},
                                  {"extra_body": {"tool_choice": "required"}}], ids=str)  # fmt: skip
@pytest.mark.parametrize("form", [dict, json.dumps, lambda body: json.dumps(body).encode()])
def test_a_choice_that_was_sent(body: dict[str, Any], form: Any) -> None:
    """In the body, which is an object, text or bytes."""
    assert sent(form(body)).choice("asked") == "required"


def test_a_choice_that_was_not_sent() -> None:
    """The body decides, then LiteLLM's parameters; without both, the client's choice stands."""
    parameters = {"tool_choice": "required", "tools": [TOOL]}
    assert sent({"model": "m"}, optional_params=parameters).choice("asked") is None
    assert sent({}, optional_params={"tools": [TOOL]}).choice("asked") is None
    assert sent({}, optional_params=parameters).choice("asked") == "required"
    assert sent("{", optional_params=parameters).choice("asked") == "required"
    assert SentRequest({}).choice("asked") == "asked"


@pytest.mark.parametrize(("provider", "choice"), [("ollama_chat", None), ("openai", "required")])
def test_a_choice_that_a_provider_has_no_parameter_for(provider: str, choice: object) -> None:
    """Ollama's body is not logged."""
    details = {"optional_params": {"tool_choice": "required"}, "custom_llm_provider": provider}
    assert sent(None, **details).choice("asked") == choice


def test_tools_that_were_sent() -> None:
    """Also those that LiteLLM added, and Bedrock's."""
    assert sent({"tools": [TOOL]}, optional_params={"tools": []}).tools == [TOOL]
    assert sent(json.dumps({"toolConfig": {"tools": [SEARCH]}})).tools == [SEARCH]
    assert sent({}, optional_params={"tools": [TOOL]}).tools == [TOOL]
    assert sent({"tools": 5}).tools == ()


@pytest.mark.parametrize(
    ("parameters", "opens"),
    [({"web_search_options": {}}, True), ({"prompt": {"id": "p"}}, True), ({"prompt": "text"}, False), ({}, False)],
)
def test_parameters_that_bring_tools(parameters: dict[str, Any], opens: bool) -> None:
    """A web search and a stored prompt."""
    assert sent({}, optional_params=parameters).opens_tools is opens
    assert sent(parameters).opens_tools is opens


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({"max_tokens": 16}, 16),
        ({"max_completion_tokens": 16}, 16),
        ({"max_output_tokens": 16}, 16),
        ({"generationConfig": {"maxOutputTokens": 16}}, 16),
        ({"inferenceConfig": {"maxTokens": 16}}, 16),
        ({"options": {"num_predict": 16}}, 16),
        ({"options": {"num_predict": -1}}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 64, "max_completion_tokens": 16}, 16),
        ({}, None),
    ],
    ids=str,
)
def test_the_limit_of_the_answer(body: dict[str, Any], limit: int | None) -> None:
    """The lowest of those that are there, whatever API names it."""
    assert sent(body).token_limit == limit
    assert sent(None, optional_params=body).token_limit == limit


@pytest.mark.parametrize(
    ("parameters", "offered", "body", "opens"),
    [
        ({"web_search_options": {}}, [TOOL], {}, True),
        ({"web_search_options": {}}, [TOOL, {"type": "web_search"}], {}, False),
        ({"web_search_options": {}}, [TOOL], {"tools": [{"type": "web_search_20250305", "name": "s"}]}, False),
        ({"web_search_options": {}}, [TOOL], {"toolConfig": {"tools": [SEARCH]}}, False),
        ({}, [TOOL, {"type": "tool_search"}], {}, False),
        ({"previous_response_id": "r"}, [TOOL, {"type": "tool_search"}], {}, True),
        ({"conversation": "c"}, [TOOL, {"type": "tool_search"}], {}, True),
        ({"previous_response_id": "r"}, [TOOL], {}, False),
    ],
)  # fmt: skip
def test_searches_beside_tools(
    parameters: dict[str, Any], offered: list[Any], body: dict[str, Any], opens: bool
) -> None:
    """A web search is open without a tool for it, a tool search after a stored answer."""
    assert sent(body, optional_params=parameters, **{TOOLS_KEY: offered}).opens_tools is opens
