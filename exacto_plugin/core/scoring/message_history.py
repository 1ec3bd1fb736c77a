"""Checks that the messages of a request pair tool calls with their results.

A result without its call, or a call that was never answered, is attributed to the caller: chat templates of
open-weights models turn such a history into nonsense, and other providers refuse it with a 400. Reads chat,
Anthropic, Bedrock, Gemini and Responses forms; reads ids and kinds only, never text. A history counts as broken only
if no form allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from exacto_plugin.core.scoring.fields import get_field
from exacto_plugin.core.scoring.provider_calls import SERVER_CALL_PREFIX

MOST_ITEMS: Final = 20_000
"""Largest number of messages (or blocks of one message) that are read.
Histories beyond a model's context are cut off here."""

_CALLS: Final = {"tool_use": "id", "function_call": "call_id", "custom_tool_call": "call_id"}
_RESULTS: Final = {
    "tool_result": "tool_use_id",
    "function_call_output": "call_id",
    "custom_tool_call_output": "call_id",
}
"""Types of blocks and items, and the key of the id that joins them."""

_WRAPPED_CALLS: Final = {"toolUse": "toolUseId", "functionCall": "name", "function_call": "name"}
_WRAPPED_RESULTS: Final = {"toolResult": "toolUseId", "functionResponse": "name", "function_response": "name"}
"""Bedrock's and Gemini's blocks, identified by their only key.
Gemini joins calls and results by name."""


class _Links(NamedTuple):
    """Ids of calls and of results in one message; None stands for a missing id."""

    calls: list[object]
    results: list[object]


def is_broken(history: object, *, complete: bool = True) -> bool:
    """Check for a tool result without its call, or a call without its result.

    A call without a result is an error only if the conversation went on after it.

    Args:
        history: the request's ``messages``, ``input`` or ``contents``; anything but a list is not broken.
        complete: False if earlier turns are stored elsewhere (``previous_response_id``) and may hold the calls.
    """
    if not isinstance(history, list | tuple):
        return False
    waiting: dict[object, int] = {}
    called: set[object] = set()
    calls_only_from = 0
    for place, item in enumerate(history[:MOST_ITEMS]):
        if get_field(item, "type") == "item_reference":
            complete = False
        calls, results = _links(item)
        if complete and not called.issuperset(results):
            return True
        for result in results:
            waiting.pop(result, None)
        called.update(calls)
        waiting.update(dict.fromkeys(calls, place))
        if not calls:
            calls_only_from = place + 1
    # Calls at the very end need no result yet: Responses has parallel calls as consecutive items.
    return any(place < calls_only_from for place in waiting.values())


def _links(item: object) -> _Links:
    links = _Links([], [])
    kind = get_field(item, "type")
    if isinstance(kind, str) and kind in _CALLS:
        links.calls.append(_id(item, _CALLS[kind]))
    elif isinstance(kind, str) and kind in _RESULTS:
        links.results.append(_id(item, _RESULTS[kind]))
    elif get_field(item, "role") == "tool":
        links.results.append(_id(item, "tool_call_id"))
    else:
        ids = (_id(call, "id") for call in _listed(get_field(item, "tool_calls")))
        links.calls.extend(one for one in ids if not (isinstance(one, str) and one.startswith(SERVER_CALL_PREFIX)))
        for block in (*_listed(get_field(item, "content")), *_listed(get_field(item, "parts"))):
            _add_block(block, links)
    return links


def _add_block(block: object, links: _Links) -> None:
    kind = get_field(block, "type")
    if isinstance(kind, str):
        if kind in _CALLS:
            links.calls.append(_id(block, _CALLS[kind]))
        elif kind in _RESULTS:
            links.results.append(_id(block, _RESULTS[kind]))
        return
    for keys, found in ((_WRAPPED_CALLS, links.calls), (_WRAPPED_RESULTS, links.results)):
        found.extend(_id(wrapped, name) for key, name in keys.items() if (wrapped := get_field(block, key)) is not None)


def _listed(value: object) -> Iterator[object]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        for number, entry in enumerate(value):
            if number >= MOST_ITEMS:
                return
            yield entry


def _id(item: object, key: str) -> object:
    found = get_field(item, key)
    return found if isinstance(found, str) and found else None
