"""Which conversation a request belongs to, what it carries that binds it, and who looks at it first."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger
from litellm.integrations.opentelemetry import OpenTelemetry
from litellm.responses.utils import ResponsesAPIRequestUtils
from litellm.router_utils.pre_call_checks.deployment_affinity_check import DeploymentAffinityCheck

from exacto_plugin.core.model import LiteLLMId
from exacto_plugin.core.routing.affinity import SessionId
from exacto_plugin.litellm_hooks.callback_order import move_before_affinity, put_in_order
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.request.conversation_key import Conversation, conversation_of, share_of
from exacto_plugin.litellm_hooks.request.provider_state import (
    ProviderState,
    named_item_id,
    provider_state_of,
    stores_responses,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SALT = b"s" * 32
KEY = {"user_api_key_hash": "k"}
USER = {"role": "user", "content": "hello"}
SYSTEM = {"role": "system", "content": "be brief"}
TEXTS = ("hello \u00e9\ud83d", "\u4e2d")
LATER = [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "and?"}]


def told(kwargs: dict[str, Any], metadata: dict[str, Any] | None = None, group: str = "g") -> Conversation | None:
    """The conversation of a request."""
    return conversation_of(kwargs, KEY if metadata is None else metadata, group, SALT)


@pytest.mark.parametrize(
    ("kwargs", "metadata", "key"),
    [
        (
            {"messages": [SYSTEM, {"role": "user", "content": [{"type": "text", "text": one} for one in TEXTS]}]},
            KEY,
            "7f333185e6e0ebe4ccdaf4691d6dc279",
        ),
        ({"session_id": "a"}, KEY, "94792ffd6364b6b469f10c4f33e185ae"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": one} for one in TEXTS]}]},
            {},
            "707faee7e9356f5cb3c7870bc4c20546",
        ),
    ],
)
def test_versions_that_share_conversations_have_the_same_keys(
    kwargs: dict[str, Any], metadata: dict[str, Any], key: str
) -> None:
    """The key of a conversation is the same in every version; a lone surrogate is part of it."""
    found = told(kwargs, metadata)
    assert found is not None
    assert found.key.hex() == key


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


UUID = "6f1c2a34-0000-4000-8000-000000000001"
WAYS: dict[SessionId, list[tuple[dict[str, Any], dict[str, Any]]]] = {
    SessionId.SESSION_ID: [({"session_id": UUID}, {}), ({"extra_body": {"session_id": UUID}}, {})],
    SessionId.X_SESSION_ID: [({}, {"headers": {"x-session-id": UUID}})],
    SessionId.X_LITELLM_SESSION_ID: [({}, {"headers": {"x-litellm-session-id": UUID}})],
    SessionId.LITELLM_SESSION_ID: [
        ({"litellm_session_id": UUID}, {}),
        ({"litellm_session_id": UUID}, {"headers": {"x-litellm-trace-id": "another"}}),
    ],
    SessionId.X_CLAUDE_CODE_SESSION_ID: [({}, {"headers": {"x-claude-code-session-id": UUID}})],
    SessionId.METADATA_USER_ID: [
        ({"metadata": {"user_id": json.dumps({"device_id": "d", "account_uuid": "", "session_id": UUID})}}, {}),
        ({"metadata": {"user_id": f"user_{'a' * 64}_account_{UUID}_session_{UUID}"}}, {}),
        ({"metadata": {"user_id": f"user_{'a' * 64}_account__session_{UUID}"}}, {}),
        ({"metadata": {"user_id": {"session_id": UUID}}}, {}),
    ],
    SessionId.CODEX_SESSION_ID: [({}, {"headers": {"session-id": UUID}}), ({}, {"headers": {"session_id": UUID}})],
    SessionId.X_SESSION_AFFINITY: [({}, {"headers": {"x-session-affinity": UUID}})],
    SessionId.PROMPT_CACHE_KEY: [({"prompt_cache_key": UUID}, {})],
}


@pytest.mark.parametrize("one", SessionId)
def test_every_id_counts(one: SessionId) -> None:
    """In each form that clients write it in; not where the settings leave it out."""
    plain = told({"messages": [USER]})
    for kwargs, metadata in WAYS[one]:
        named = told({"messages": [USER], **kwargs}, {**KEY, **metadata})
        assert named is not None
        assert named == told({"session_id": UUID})
        assert not named.is_new
        others = [other for other in SessionId if other is not one]
        given = {"messages": [USER], **kwargs}
        assert conversation_of(given, {**KEY, **metadata}, "g", SALT, session_ids=others) == plain


@pytest.mark.parametrize("order", [tuple(SessionId), tuple(reversed(SessionId))], ids=["default", "reversed"])
def test_the_first_listed_id_counts(order: tuple[SessionId, ...]) -> None:
    """Of all that a request has at once."""
    for number, first in enumerate(order):
        kwargs: dict[str, Any] = {"messages": [USER]}
        headers: dict[str, str] = {}
        for one in order[number:]:
            own, metadata = WAYS[one][0]
            text = json.dumps([own, metadata]).replace(UUID, UUID if one is first else f"other-{one}")
            own, metadata = json.loads(text)
            kwargs |= own
            headers |= metadata.get("headers", {})
        found = conversation_of(kwargs, {**KEY, "headers": headers}, "g", SALT, session_ids=order)
        assert found == told({"session_id": UUID}), first


@pytest.mark.parametrize(
    ("kwargs", "metadata"),
    [
        ({"litellm_session_id": UUID}, {"litellm_session_id_generated": True}),
        ({"litellm_session_id": UUID}, {"headers": {"x-litellm-trace-id": UUID}}),
        ({"metadata": {"user_id": "someone"}}, {}),
        ({"metadata": {"user_id": "{broken"}}, {}),
        ({"metadata": {"user_id": '{"session_id": 5}'}}, {}),
        ({"metadata": {"user_id": '{"device_id": "d"}'}}, {}),
        ({"metadata": {"user_id": "user_a_account_b_session_"}}, {}),
        ({"metadata": "odd", "extra_body": "odd", "session_id": 5, "prompt_cache_key": []}, {"headers": "odd"}),
    ],
)
def test_what_names_no_conversation(kwargs: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Ids of one request alone, of a user, and what is no id."""
    assert told({"messages": [USER], **kwargs}, {**KEY, **metadata}) == told({"messages": [USER]})


BILLING = "x-anthropic-billing-header: cc_version=2.1.197.{}; cc_entrypoint=cli;"


@pytest.mark.parametrize(
    "form",
    [
        lambda line: {"system": [{"type": "text", "text": line}, {"type": "text", "text": "be brief"}]},
        lambda line: {"system": f"{line}\nbe brief"},
        lambda line: {"messages": [{"role": "system", "content": line}, SYSTEM, USER]},
        lambda line: {"messages": [{"role": "system", "content": [{"type": "text", "text": line}]}, SYSTEM, USER]},
        lambda line: {"instructions": f"{line}\nbe brief", "input": "hello", "litellm_metadata": {}},
    ],
)
def test_billing_is_no_part_of_a_beginning(form: Callable[[str], dict[str, Any]]) -> None:
    """The line that Claude Code changes from request to request, in the form of each surface."""
    for version in ("faf", "f9d"):
        assert told({"messages": [USER], **form(BILLING.format(version))}) == told({"messages": [SYSTEM, USER]})


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


def test_ahead_of_what_ends_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flaws of an answer are known in the log event in which LiteLLM's OpenTelemetry ends the span."""

    class Vendor(OpenTelemetry):
        """As those of vendors."""

    ours, other = CustomLogger(), CustomLogger()
    for ending in (object.__new__(OpenTelemetry), object.__new__(Vendor)):
        for name in ("success_callback", "_async_success_callback"):
            monkeypatch.setattr(litellm, name, ["prometheus", ending, other, ours])
        put_in_order(ours)
        assert litellm.success_callback == litellm._async_success_callback == ["prometheus", ours, ending, other]


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
