"""Answers on the wire, where the demo's providers lack a form.

Responses items of custom tools and of namespaces, and Anthropic's own web search.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from exacto_plugin.demo.answer import Call, ChatRequest, Finish, SimulatedAnswer
from exacto_plugin.demo.behaviour import Act
from exacto_plugin.demo.chat import chat_events, text_events, whole_chat, whole_text
from exacto_plugin.demo.messages import message_events, whole_message
from exacto_plugin.demo.responses import response_events, whole_response
from exacto_plugin.demo.wire import StreamEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.clients.repertoire import ScriptedCall

_FINISHES = {"stop": Finish.STOP, "calls": Finish.CALLS, "length": Finish.LENGTH}


class Reply:
    """One answer, ready to be written.

    Args:
        text: beside the calls.
        calls: in their order.
        finish: stop, calls or length.
        tokens: of the prompt, as they are reported.
        searched: True for an answer after a web search that the provider ran.
    """

    def __init__(
        self, text: str, calls: Sequence[ScriptedCall], finish: str, tokens: int, *, searched: bool = False
    ) -> None:
        self._items = calls
        self._searched = searched
        plain = tuple(Call(call.id, call.name, call.arguments) for call in calls)
        self._answer = SimulatedAnswer(Act.VALID, text, plain, _FINISHES[finish], tokens, 10)

    def whole(self, surface: str, ask: ChatRequest, identity: str) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        if surface == "chat":
            return whole_chat(self._answer, ask, identity, 1)
        if surface == "text":
            return whole_text(self._answer, ask, identity, 1)
        if surface == "messages":
            body = whole_message(self._answer, ask, identity)
            return {**body, "content": [*(_SEARCH if self._searched else ()), *body["content"]]}
        return self._with_items(whole_response(self._answer, ask, identity, 1))

    def events(self, surface: str, ask: ChatRequest, identity: str) -> Iterator[StreamEvent]:
        """Yield the events of a stream."""
        if surface == "chat":
            yield from chat_events(self._answer, ask, identity, 1)
        elif surface == "text":
            yield from text_events(self._answer, ask, identity, 1)
        elif surface == "messages":
            yield from self._message_events(ask, identity)
        else:
            yield from self._response_events(ask, identity)

    def _message_events(self, ask: ChatRequest, identity: str) -> Iterator[StreamEvent]:
        shift = len(_SEARCH) if self._searched else 0
        for event in message_events(self._answer, ask, identity):
            assert not isinstance(event.data, bytes)
            index = event.data.get("index")
            yield event if index is None else StreamEvent({**event.data, "index": index + shift}, event.name)
            if event.name == "message_start":
                for place, block in enumerate(_SEARCH[:shift]):
                    yield StreamEvent(
                        {"type": "content_block_start", "index": place, "content_block": block}, "content_block_start"
                    )
                    yield StreamEvent({"type": "content_block_stop", "index": place}, "content_block_stop")

    def _response_events(self, ask: ChatRequest, identity: str) -> Iterator[StreamEvent]:
        """Yield the demo's events, with the items of this answer's calls in place of plain ones."""
        items = {call.id: call for call in self._items}
        for event in response_events(self._answer, ask, identity, 1):
            assert not isinstance(event.data, bytes)
            data = dict(event.data)
            item = data.get("item") or {}
            call = items.get(str(item.get("call_id") or str(data.get("item_id")).removeprefix("fc_")))
            if call is not None and call.search and not item:
                continue
            if call is not None and item:
                data["item"] = {
                    **_item(call, item["status"]),
                    **({"arguments": ""} if _begins(event) and not (call.custom or call.search) else {}),
                }
            elif call is not None and call.custom:
                text = {key: data[key] for key in ("delta",) if key in data} or {"input": call.arguments}
                kind = str(event.name).replace("function_call_arguments", "custom_tool_call_input")
                where = {key: data[key] for key in ("item_id", "output_index", "sequence_number")}
                yield StreamEvent({"type": kind, **where, **text}, kind)
                continue
            if event.name in ("response.completed", "response.incomplete"):
                data["response"] = self._with_items(data["response"])
            yield StreamEvent(data, event.name)

    def _with_items(self, body: dict[str, Any]) -> dict[str, Any]:
        items = {call.id: call for call in self._items}
        output = [
            _item(items[item["call_id"]], item["status"]) if item.get("call_id") in items else item
            for item in body["output"]
        ]
        return {**body, "output": output}


def _begins(event: StreamEvent) -> bool:
    return event.name == "response.output_item.added"


def _item(call: ScriptedCall, status: str) -> dict[str, Any]:
    if call.search:
        found = {"execution": "client", "arguments": json.loads(call.arguments)}
        return {"type": "tool_search_call", "id": f"ts_{call.id}", "call_id": call.id, **found, "status": status}
    named = {"name": call.name, **({"namespace": call.namespace} if call.namespace else {})}
    form = {"input": call.arguments} if call.custom else {"arguments": call.arguments}
    kind = "custom_tool_call" if call.custom else "function_call"
    return {"type": kind, "id": f"fc_{call.id}", "call_id": call.id, **named, **form, "status": status}


_SEARCH: list[dict[str, Any]] = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "weather"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {
                "type": "web_search_result",
                "url": "http://127.0.0.1/",
                "title": "Weather",
                "encrypted_content": "eA==",
                "page_age": None,
            }
        ],
    },
]
