"""Whether the messages of a request keep tool calls and their results together.

A result without its call, or a call that was never answered, is the caller's doing: templates of open-weights models
make nonsense of it, and other providers refuse it with a 400. Reads chat, Anthropic, Bedrock, Gemini and Responses
forms; looks at ids and kinds only, never at text. Judges in the caller's disfavour only what no form allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

MOST_ITEMS: Final = 20_000
"""Messages (or blocks of one message) looked at; histories beyond a model's context are cut off here."""

_CALLS: Final = {"tool_use": "id", "function_call": "call_id", "custom_tool_call": "call_id"}
_RESULTS: Final = {
    "tool_result": "tool_use_id",
    "function_call_output": "call_id",
    "custom_tool_call_output": "call_id",
}
"""Types of blocks and items, and the key of the id that joins them."""

_WRAPPED_CALLS: Final = {"toolUse": "toolUseId", "functionCall": "name", "function_call": "name"}
_WRAPPED_RESULTS: Final = {"toolResult": "toolUseId", "functionResponse": "name", "function_response": "name"}
"""Bedrock's and Gemini's blocks, told by their only key; Gemini joins by name."""


class _Links(NamedTuple):
    """Ids of calls and of results in one message; None stands for an id that is missing."""

    calls: list[object]
    results: list[object]


def is_broken(history: object, *, complete: bool = True) -> bool:
    """Whether a tool result lacks its call, or a call its result although the conversation went on.

    Args:
        history: the request's ``messages``, ``input`` or ``contents``; anything but a list is not broken.
        complete: False when earlier turns are kept elsewhere (``previous_response_id``), so that calls may be there.
    """
    if not isinstance(history, list | tuple):
        return False
    waiting: dict[object, int] = {}
    called: set[object] = set()
    calls_only_from = 0
    for place, item in enumerate(history[:MOST_ITEMS]):
        if _get(item, "type") == "item_reference":
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
    # Calls at the very end wait for nothing yet: Responses writes parallel ones as items in a row.
    return any(place < calls_only_from for place in waiting.values())


_SERVERS_OWN: Final = "srvtoolu_"
"""Ids of calls that Anthropic runs itself; LiteLLM shows them among the others, and no message answers them."""


def _links(item: object) -> _Links:
    links = _Links([], [])
    kind = _get(item, "type")
    if isinstance(kind, str) and kind in _CALLS:
        links.calls.append(_id(item, _CALLS[kind]))
    elif isinstance(kind, str) and kind in _RESULTS:
        links.results.append(_id(item, _RESULTS[kind]))
    elif _get(item, "role") == "tool":
        links.results.append(_id(item, "tool_call_id"))
    else:
        ids = (_id(call, "id") for call in _listed(_get(item, "tool_calls")))
        links.calls.extend(one for one in ids if not (isinstance(one, str) and one.startswith(_SERVERS_OWN)))
        for block in (*_listed(_get(item, "content")), *_listed(_get(item, "parts"))):
            _add_block(block, links)
    return links


def _add_block(block: object, links: _Links) -> None:
    kind = _get(block, "type")
    if isinstance(kind, str):
        if kind in _CALLS:
            links.calls.append(_id(block, _CALLS[kind]))
        elif kind in _RESULTS:
            links.results.append(_id(block, _RESULTS[kind]))
        return
    for keys, found in ((_WRAPPED_CALLS, links.calls), (_WRAPPED_RESULTS, links.results)):
        found.extend(_id(wrapped, name) for key, name in keys.items() if (wrapped := _get(block, key)) is not None)


def _listed(value: object) -> Iterator[object]:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        for number, entry in enumerate(value):
            if number >= MOST_ITEMS:
                return
            yield entry


def _id(item: object, key: str) -> object:
    found = _get(item, key)
    return found if isinstance(found, str) and found else None


def _get(item: object, key: str) -> object:
    """Of a dictionary, or of an object as programs pass LiteLLM's own messages back."""
    return item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)
