"""Histories whose tool results do not fit their calls are told from sound ones, in every form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.scoring.message_history import is_broken

USER: dict[str, Any] = {"role": "user", "content": "Weather?"}


def chat_call(*ids: str) -> dict[str, Any]:
    """An assistant's message with calls."""
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def chat_result(call: str) -> dict[str, Any]:
    """A tool's message."""
    return {"role": "tool", "tool_call_id": call, "content": "sunny"}


FORMS: dict[str, tuple[Any, Any]] = {
    "chat": (chat_call("a"), chat_result("a")),
    "anthropic": (
        {"role": "assistant", "content": [{"type": "text", "text": "x"}, {"type": "tool_use", "id": "a", "name": "f"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}, {"type": "text", "text": "so?"}]},
    ),
    "bedrock": (
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": []}}]},
    ),
    "gemini": (
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ),
    "responses": (
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "sunny"},
    ),
    "responses custom": (
        {"type": "custom_tool_call", "call_id": "a", "name": "f", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "sunny"},
    ),
    "litellm objects": (
        SimpleNamespace(role="assistant", content=None, tool_calls=[SimpleNamespace(id="a", type="function")]),
        chat_result("a"),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_calls_and_results_belong_together(form: str) -> None:
    """A pair is sound; either half alone is not, unless the call is the end of what was sent."""
    call, result = FORMS[form]
    assert not is_broken([USER, call, result])
    assert not is_broken([USER, call, result, {"role": "assistant", "content": "Sunny."}, USER])
    assert not is_broken([USER, call])
    assert is_broken([USER, result])
    assert is_broken([USER, call, USER])
    assert is_broken([USER, result, call])


@pytest.mark.parametrize("form", FORMS)
def test_calls_may_be_kept_elsewhere(form: str) -> None:
    """With a stored conversation the result's call need not be sent; an unanswered call is still one."""
    call, result = FORMS[form]
    assert not is_broken([result, USER], complete=False)
    assert is_broken([call, USER], complete=False)


def test_a_referenced_item_may_be_the_call() -> None:
    """Responses can name an item instead of repeating it."""
    assert not is_broken([{"type": "item_reference", "id": "fc_1"}, FORMS["responses"][1]])


def test_parallel_calls_need_all_their_results() -> None:
    """In any order, but all of them before the model goes on."""
    assert not is_broken([USER, chat_call("a", "b"), chat_result("b"), chat_result("a")])
    assert is_broken([USER, chat_call("a", "b"), chat_result("b")])
    items = [{"type": "function_call", "call_id": one, "name": "f"} for one in "ab"]
    outputs = [{"type": "function_call_output", "call_id": one} for one in "ab"]
    assert not is_broken([*items, *outputs])
    assert not is_broken(items)
    assert is_broken([*items, outputs[0]])


def test_ids_that_begin_anew_every_turn_are_sound() -> None:
    """Some models number their calls per turn; a client passes that on."""
    turn = [USER, chat_call("functions.f:0"), chat_result("functions.f:0")]
    assert not is_broken(turn * 3)


def test_calls_that_the_provider_ran_itself_need_no_result() -> None:
    """LiteLLM shows Anthropic's server tools as calls, and clients send them back."""
    assert not is_broken([USER, chat_call("srvtoolu_01", "a"), chat_result("a"), USER])
    assert is_broken([USER, chat_call("srvtoolu_01", "a"), USER])


def test_a_result_without_an_id_is_broken() -> None:
    """Nobody can tell what it answers."""
    assert is_broken([USER, chat_call("a"), {"role": "tool", "content": "sunny"}])


@pytest.mark.parametrize("history", [None, "hello", 5, {}, [], [None], ["hello"], [5, []], [{"content": 5}], [USER]])
def test_what_holds_no_calls_is_sound(history: object) -> None:
    """Text, nothing, and whatever else a client can send."""
    assert not is_broken(history)


KEYS = ["role", "type", "content", "parts", "tool_calls", "tool_call_id", "id", "call_id", "toolUse",
        "functionResponse", "name"]  # fmt: skip


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(KEYS), inner), max_leaves=20))  # fmt: skip
def test_nothing_that_json_can_say_raises(history: object) -> None:
    """Whatever the client sent."""
    assert is_broken(history) in (True, False)
    assert is_broken([history, history]) in (True, False)
