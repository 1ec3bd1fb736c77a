"""Which conversation a request belongs to, what it carries that binds it, and who looks at it first."""

from __future__ import annotations

import base64
from typing import Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.responses.utils import ResponsesAPIRequestUtils
from litellm.router_utils.pre_call_checks.deployment_affinity_check import DeploymentAffinityCheck

from exacto_plugin.core.model import LiteLLMId
from exacto_plugin.litellm_hooks.callback_order import move_before_affinity
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.request.conversation_key import Conversation, conversation_of, share_of
from exacto_plugin.litellm_hooks.request.provider_state import (
    ProviderState,
    named_item_id,
    provider_state_of,
    stores_responses,
)

SALT = b"s" * 32
KEY = {"user_api_key_hash": "k"}
USER = {"role": "user", "content": "hello"}
SYSTEM = {"role": "system", "content": "be brief"}
LATER = [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "and?"}]


def told(kwargs: dict[str, Any], metadata: dict[str, Any] | None = None, group: str = "g") -> Conversation | None:
    """The conversation of a request."""
    return conversation_of(kwargs, KEY if metadata is None else metadata, group, SALT)


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [SYSTEM, USER, *LATER]},
        {"messages": [{"role": "developer", "content": "be brief"}, USER]},
        {"system": "be brief", "messages": [USER]},
        {"system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}], "messages": [USER]},
        {"messages": [SYSTEM, {"role": "user", "content": [{"type": "text", "text": "hello"}]}]},
        {"instructions": "be brief", "input": "hello", "litellm_metadata": {}},
        {"instructions": "be brief", "input": [{"type": "message", **USER}], "litellm_metadata": {}},
    ],
)
def test_the_same_beginning_is_the_same_conversation(other: dict[str, Any]) -> None:
    """Later turns, other surfaces and cache markers change nothing."""
    one, two = told({"messages": [SYSTEM, USER]}), told(other)
    assert one is not None
    assert two is not None
    assert one.key == two.key


@pytest.mark.parametrize(
    ("kwargs", "metadata", "group"),
    [
        ({"messages": [USER]}, KEY, "g"),
        ({"messages": [SYSTEM, {**USER, "content": "hello!"}]}, KEY, "g"),
        ({"messages": [{**SYSTEM, "role": "user"}, USER]}, KEY, "g"),
        ({"messages": [SYSTEM, USER]}, {"user_api_key_hash": "other"}, "g"),
        ({"messages": [SYSTEM, USER]}, KEY, "h"),
        ({"messages": [SYSTEM, USER], "session_id": "s"}, KEY, "g"),
    ],
)
def test_other_conversations(kwargs: dict[str, Any], metadata: dict[str, Any], group: str) -> None:
    """Another beginning, key, model or name is another conversation."""
    one, two = told({"messages": [SYSTEM, USER]}), told(kwargs, metadata, group)
    assert one is not None
    assert two is not None
    assert one.key != two.key


def test_a_name_comes_before_what_is_said() -> None:
    """Body, then header, then cache key; a named conversation is never an opening."""
    named = [
        told(
            {"session_id": "a", "prompt_cache_key": "c", "messages": [USER]}, {**KEY, "headers": {"x-session-id": "b"}}
        ),
        told({"prompt_cache_key": "a", "messages": [SYSTEM]}),
        told({"prompt_cache_key": "c"}, {**KEY, "headers": {"x-session-id": "a"}}),
        told({"extra_body": {"session_id": "a"}}),
    ]
    assert {one.key for one in named if one is not None} == {named[0].key if named[0] else b""}
    assert not any(one is None or one.is_new for one in named)


def test_openings_and_requests_without() -> None:
    """Only a first turn opens; embeddings and empty bodies belong to no conversation."""
    opening, later = told({"messages": [SYSTEM, USER]}), told({"messages": [SYSTEM, USER, *LATER]})
    assert opening is not None
    assert opening.is_new
    assert later is not None
    assert not later.is_new
    assert told({"input": "embed this"}) is None
    assert told({"messages": [SYSTEM]}) is None
    assert told({}) is None
    assert share_of(None) == 1.0
    assert 0.0 <= share_of(opening) < 1.0


def test_the_hash_is_salted_and_holds_no_text() -> None:
    """16 bytes; another installation has others."""
    one = told({"messages": [SYSTEM, USER]})
    other = conversation_of({"messages": [SYSTEM, USER]}, KEY, "g", b"t" * 32)
    assert one is not None
    assert other is not None
    assert len(one.key) == 16
    assert one.key != other.key


STORED = "resp_" + base64.b64encode(b"litellm:custom_llm_provider:openai;model_id:d1;response_id:resp_x").decode()
MARKED = "litellm_enc:" + base64.b64encode(b"model_id:d2").decode() + ";gAAAA"


@pytest.mark.parametrize(
    ("kwargs", "bond"),
    [
        ({"previous_response_id": STORED, "input": "x"}, ProviderState(LiteLLMId("d1"), is_pointer=True)),
        ({"previous_response_id": "resp_foreign", "input": "x"}, ProviderState(is_pointer=True)),
        (
            {"input": [{"type": "reasoning", "encrypted_content": MARKED}, USER]},
            ProviderState(LiteLLMId("d2"), releasable=True),
        ),
        ({"input": [{"type": "reasoning", "encrypted_content": "gAAAA"}, USER]}, ProviderState()),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, ProviderState(is_pointer=True)),
        (
            {
                "input": [
                    {"type": "item_reference", "id": named_item_id("d3", "msg_1")},
                    {"type": "item_reference", "id": "rs_2"},
                ]
            },
            ProviderState(LiteLLMId("d3"), is_pointer=True),
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]},
            ProviderState(),
        ),
        (
            {"messages": [{"role": "assistant", "thinking_blocks": [{"type": "thinking", "signature": "x"}]}]},
            ProviderState(),
        ),
        (
            {"messages": [{"role": "assistant", "reasoning_details": [{"type": "reasoning.encrypted"}]}]},
            ProviderState(),
        ),
        ({"messages": [{"role": "assistant", "thinking_blocks": [{"type": "thinking", "signature": ""}]}]}, None),
        ({"messages": [{"role": "user", "content": [{"type": "redacted_thinking"}]}, "odd", None]}, None),
        ({"input": [{"type": "reasoning", "encrypted_content": None}, "odd", USER]}, None),
        ({"input": "text"}, None),
        ({}, None),
    ],
)
def test_what_binds(kwargs: dict[str, Any], bond: ProviderState | None) -> None:
    """Stored responses and sealed reasoning, on every surface; nothing else."""
    assert provider_state_of(kwargs, None) == bond


def test_ids_of_items_name_their_deployment() -> None:
    """LiteLLM takes the deployment out of the id again; an id that it would misread stays."""
    item = {"type": "item_reference", "id": named_item_id("d:1/x", "msg_1;2")}
    ResponsesAPIRequestUtils.restore_encrypted_content_item_ids_in_input([item])
    assert item["id"] == "msg_1;2"
    assert named_item_id("d;1", "msg_1") == "msg_1"


@pytest.mark.parametrize(
    ("params", "info", "stores"),
    [
        ({"model": "openai/own", "api_base": "http://x/v1"}, {}, True),
        ({"model": "azure/gpt-5"}, {}, True),
        ({"model": "own", "custom_llm_provider": "openai"}, {}, True),
        ({"model": "openai/own", "use_chat_completions_api": True}, {}, False),
        ({"model": "anthropic/claude-sonnet-4-5"}, {}, False),
        ({"model": "deepinfra/own"}, {}, False),
        ({"model": "deepinfra/own"}, {"supported_endpoints": ["/v1/responses"]}, True),
        ({"model": "deepinfra/own"}, {"supported_endpoints": 5}, False),
    ],
)
def test_where_responses_are_stored(params: dict[str, Any], info: dict[str, Any], stores: bool) -> None:
    """Where LiteLLM does not translate them to chat completions."""
    assert stores_responses({"litellm_params": params, "model_info": info}) is stores


@pytest.mark.parametrize(
    ("prices", "caches"),
    [
        ({}, True),
        ({"input_cost_per_token": 1e-6}, True),
        ({"input_cost_per_token": 1e-6, "cache_read_input_token_cost": 1e-7}, True),
        ({"input_cost_per_token": 1e-6, "cache_read_input_token_cost": 1e-6}, False),
        ({"input_cost_per_token": 0.0, "cache_read_input_token_cost": 0.0}, True),
    ],
)
def test_where_coming_back_may_pay(prices: dict[str, float], caches: bool) -> None:
    """Unless the cache is known to save nothing."""
    assert candidate_of({"litellm_params": {"model": "openai/own", **prices}}).caches is caches


def test_ahead_of_litellms_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours moves before the check, others keep their order, and lists that are being walked through do not change."""
    ours, other = CustomLogger(), CustomLogger()
    check = DeploymentAffinityCheck(litellm.DualCache(), 60, True, True)
    for before, after in (
        ([other, check, ours], [other, ours, check]),
        ([ours, other, check], [ours, other, check]),
        ([other, check], [other, check]),
        (["prometheus", other, ours], ["prometheus", other, ours]),
    ):
        given: list[Any] = list(before)
        monkeypatch.setattr(litellm, "callbacks", given)
        move_before_affinity(ours)
        assert litellm.callbacks == after
        assert given == before


def test_strange_messages_begin_no_conversation() -> None:
    """A number in place of messages is no conversation; a thousand levels of nesting are one like any other."""
    assert told({"messages": 5}) is None
    deep: Any = "hello"
    for _ in range(1_000):
        deep = [deep]
    one, two = told({"messages": [USER]}), told({"messages": [{"role": "user", "content": deep}]})
    assert one is not None
    assert one == two


def test_strange_blocks_bind_nobody() -> None:
    """A client may send anything as the type of a block."""
    kinds: tuple[object, ...] = ([], {}, 1, None)
    for kind in kinds:
        assert provider_state_of({"messages": [{"role": "assistant", "content": [{"type": kind}]}]}, None) is None
