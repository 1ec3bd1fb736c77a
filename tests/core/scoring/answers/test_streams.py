"""Calls are put together from the pieces that a client gets, as clients do it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.scoring.answers.calls import whole_calls
from exacto_plugin.core.scoring.answers.chat_stream import join_chunks
from exacto_plugin.core.scoring.answers.message_stream import MessageEvents
from exacto_plugin.core.scoring.answers.response_stream import ResponseEvents
from exacto_plugin.core.scoring.evaluation import ToolCall

F = ToolCall("f", '{"a": 1}')
G = ToolCall("g", "{}")


def chunk(*calls: dict[str, Any], choice: int = 0, **more: Any) -> dict[str, Any]:
    """One chunk of chat with deltas of calls."""
    return {"choices": [{"index": choice, "delta": {"tool_calls": list(calls)}, "finish_reason": None, **more}]}


def delta(name: str | None = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    """The delta of one call."""
    return {"function": {"name": name, "arguments": arguments}, **more}


@pytest.mark.parametrize("identity", [{}, {"id": None}, {"id": ""}, {"id": 7}, {"id": "call_1"}], ids=str)
@pytest.mark.parametrize("index", [{}, {"index": 0}, {"index": 3}, {"index": None}], ids=str)
def test_ids_and_indices_are_optional(identity: dict[str, Any], index: dict[str, Any]) -> None:
    """A call whose deltas have neither is still one call."""
    chunks = [chunk(delta("f", '{"a"', **identity, **index)), chunk(delta(arguments=": 1}", **index))]
    if index.get("index") is None and identity.get("id") == "call_1":
        chunks[1]["choices"][0]["delta"]["tool_calls"][0]["id"] = "call_1"
    assert join_chunks(chunks).calls == (F,)


@pytest.mark.parametrize(
    ("pieces", "name"),
    [(["get_", "weather"], "get_weather"), (["f", "f", "f"], "f"), (["f", None, ""], "f"),
     (["get_", "get_weather"], "get_weather"), (["ff"], "ff"), ([None], "")],
)  # fmt: skip
def test_names_may_come_in_pieces(pieces: list[str | None], name: str) -> None:
    """Pieces continue the name, and a repeated name is the name."""
    assert join_chunks([chunk(delta(piece, "", index=0)) for piece in pieces]).calls == (ToolCall(name, ""),)


def test_calls_of_one_index_are_one_call() -> None:
    """Clients join by index, so two calls under one index reach them as one."""
    joined = join_chunks([chunk(delta("f", "{}", index=0, id="1")), chunk(delta("f", "{}", index=0, id="2"))])
    assert joined.calls == (ToolCall("f", "{}{}"),)


def test_choices_are_answers_of_their_own() -> None:
    """Interleaved choices are not mixed, and each may number its calls from the start."""
    chunks = [chunk(delta("f", '{"a": 1}', index=0, id="c"), choice=1), chunk(delta("g", "{}", index=0, id="c"))]
    joined = join_chunks(chunks)
    assert joined.groups == ((G,), (F,))
    assert not joined.has_duplicate_ids


def test_other_forms_of_chat() -> None:
    """OpenAI's older functions, custom tools, and arguments as an object."""
    older = [{"choices": [{"delta": {"function_call": part}}]} for part in ({"name": "f"}, {"arguments": '{"a": 1}'})]
    assert join_chunks(older).calls == (F,)
    custom = join_chunks([chunk({"custom": {"name": "p", "input": "x"}, "index": 0})])
    assert custom.calls == (ToolCall("p", "x"),)
    assert custom.calls[0].custom
    assert join_chunks([chunk(delta("f", {"a": 1}, index=0))]).calls == (F,)


def test_ends_and_usage_are_kept() -> None:
    """The finish reason and the provider's own number of tokens; None where it gave none."""
    ended = join_chunks([chunk(finish_reason="tool_calls"), {"choices": [], "usage": {"completion_tokens": 16}}])
    assert ended.reasons == {"tool_calls"}
    assert ended.output_tokens == 16
    assert not ended.estimated
    assert join_chunks([chunk()]).output_tokens is None
    assert join_chunks([chunk()]).estimated


def test_placeholders_are_no_ids() -> None:
    """``"null"`` as an id of several calls is no id, while two equal ids are a flaw."""
    for identity, duplicate in (("null", False), ("", False), ("c", True)):
        calls = [delta("g", "{}", index=place, id=identity) for place in (0, 1)]
        assert join_chunks([chunk(*calls)]).has_duplicate_ids is duplicate


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=4)), max_size=12), st.booleans())
def test_pieces_of_arguments_are_joined_per_call(pieces: list[tuple[int, str]], whole: bool) -> None:
    """Whatever the order of the calls' pieces, each call gets its own, in order."""
    heads = [delta(f"t{index}", "", index=index) for index in range(3)]
    parts = [delta(arguments=text, index=index) for index, text in pieces]
    chunks = [chunk(*heads, *parts)] if whole else [chunk(*heads), *(chunk(part) for part in parts)]
    wanted = {f"t{index}": "".join(text for place, text in pieces if place == index) for index in range(3)}
    assert {call.name: call.arguments for call in join_chunks(chunks).calls} == wanted


ODD: list[Any] = [
    None, 5, "x", {}, {"choices": None}, {"choices": [None]}, {"choices": [{}]}, {"choices": [{"delta": None}]},
    chunk({}), chunk({"function": None}),
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_odd_chunks_hold_no_call(odd: Any) -> None:
    """What is no chunk is passed over."""
    assert join_chunks([odd, chunk(delta("f", '{"a": 1}', index=0))]).calls == (F,)


def block(index: int, name: str, start: Any = None, kind: str = "tool_use") -> dict[str, Any]:
    """The event that begins a block of a call."""
    content = {"type": kind, "id": f"t{index}", "name": name, "input": {} if start is None else start}
    return {"type": "content_block_start", "index": index, "content_block": content}


def piece(index: int, text: str) -> dict[str, Any]:
    """A piece of a call's arguments."""
    return {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "input_json_delta", "partial_json": text},
    }


def read(*events: dict[str, Any]) -> MessageEvents:
    """The events of a message, read from the bytes of each."""
    reader = MessageEvents()
    for event in events:
        reader.feed_data(json.dumps(event).encode())
    return reader


def test_blocks_of_a_message_are_apart() -> None:
    """Interleaved pieces belong to their block; without a piece the input at the start counts."""
    interleaved = read(block(0, "f"), block(1, "g"), piece(0, '{"a"'), piece(1, "{}"), piece(0, ": 1}"))
    assert interleaved.answer().calls == (F, G)
    assert read(block(0, "f", {"a": 1})).answer().calls == (ToolCall("f", {"a": 1}),)
    assert read(block(0, "g"), piece(0, "")).answer().calls == (ToolCall("g", {}),)


def test_the_end_of_a_message_and_the_providers_own_blocks() -> None:
    """A stop reason, the tokens, and whether the provider ran something itself."""
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
    answer = read(block(0, "web_search", kind="server_tool_use"), block(1, "f"), piece(1, '{"a": 1}'), end).answer()
    assert (answer.calls, answer.others, answer.output_tokens) == ((F,), True, 5)
    assert (answer.reasons, answer.complete) == (frozenset({"end_turn"}), True)
    begun = read(block(0, "f")).answer()
    assert (begun.reasons, begun.complete) == (frozenset(), False)


@pytest.mark.parametrize("data", [b"", b"[DONE]", b"5", b"{", b'{"type": "content_block_start"}', b'"text_delta"'])
def test_odd_events_hold_no_call(data: bytes) -> None:
    """What is no event of a message is passed over."""
    reader = MessageEvents()
    reader.feed_data(data)
    assert [call.name for call in reader.answer().calls] in ([], [""])


def test_items_of_a_response() -> None:
    """Items count when they are done, in any order, with the namespace that their name is in."""
    reader = ResponseEvents()
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a": 1}'}
    spaced = {**item, "name": "g", "namespace": "n", "arguments": "{}"}
    reader.feed({"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}})
    reader.feed({"type": "response.output_item.done", "output_index": 0, "item": item})
    reader.feed({"type": "response.output_item.done", "output_index": 1, "item": spaced})
    reader.feed({"type": "response.output_item.done", "output_index": 2, "item": {"type": "web_search_call"}})
    answer = reader.answer()
    assert (answer.calls, answer.others, answer.complete) == ((F, ToolCall("n.g", "{}")), True, False)
    reader.feed({"type": "response.completed", "response": {"output": [], "usage": {"output_tokens": 5}}})
    whole = whole_calls({"output": [item, spaced, {"type": "web_search_call"}]})
    assert reader.answer() == replace(whole, output_tokens=5)
