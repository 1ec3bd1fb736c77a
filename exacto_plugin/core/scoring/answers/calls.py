"""Reads the tool calls of an answer, or of one of its parts, on each surface.

An answer of chat has several choices, which are answers of their own; calls are therefore grouped. Reads forms only:
a name need not be offered, and arguments need not be JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.fields import get_field, get_list, get_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CALL_ITEMS: Final = ("function_call", "custom_tool_call")
"""Types of Responses items that the client answers."""
_ITEMS_OF_PROVIDERS: Final = ("_call", "_approval_request")
"""Suffixes of Responses item types for calls that the provider runs itself."""
CALL_BLOCK: Final = "tool_use"
"""Type of Messages blocks that the client answers."""
_BLOCKS_OF_PROVIDERS: Final = ("_tool_use", "_tool_result")
"""Suffixes of Messages block types for calls that the provider runs itself."""
_NO_IDS: Final = ("", "null", "None")
"""Ids that stand for a missing one."""


@dataclass(frozen=True, slots=True)
class AnswerCalls:
    """The calls of one answer, and its end as far as it is known."""

    groups: tuple[tuple[ToolCall, ...], ...] = ()
    """The calls of each choice; a single group on surfaces without choices."""
    others: bool = False
    """True if it has calls that the provider runs itself."""
    reasons: frozenset[str] = frozenset()
    """Finish reasons."""
    output_tokens: int | None = None
    """As the provider reported them; None if it did not."""
    estimated: bool = False
    """True for a stream without usage, whose tokens LiteLLM estimates."""
    complete: bool = True
    """False for a stream whose last event was not seen."""
    spoke: bool = False
    """True if it is known to have text or a refusal; known of events only."""
    reasoned: bool = False
    """True if it is known to have reasoning; known of events only."""

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls of all choices."""
        return tuple(call for group in self.groups for call in group)

    @property
    def has_duplicate_ids(self) -> bool:
        """True if two calls of one choice have the same id."""
        several = (group for group in self.groups if len(group) > 1)
        known = [[call.id for call in group if call.id not in _NO_IDS] for group in several]
        return any(len(set(ids)) < len(ids) for ids in known)


class StreamReader(Protocol):
    """Reader of one stream."""

    def answer(self) -> AnswerCalls | None:
        """Return the calls so far; None if the stream could not be read."""


def message_calls(message: Any) -> Iterator[ToolCall]:
    """Yield the calls of a chat message, in either of OpenAI's forms."""
    for call in get_field(message, "tool_calls") or ():
        if (function := get_field(call, "function")) is not None:
            yield ToolCall(get_text(function, "name"), get_field(function, "arguments"), get_text(call, "id"))
        elif (custom := get_field(call, "custom")) is not None:
            name, argument = get_text(custom, "name"), get_field(custom, "input")
            yield ToolCall(name, argument, get_text(call, "id"), custom=True)
    legacy = get_field(message, "function_call")
    if legacy is not None:
        yield ToolCall(get_text(legacy, "name"), get_field(legacy, "arguments"))


def items_calls(items: Iterable[Any]) -> AnswerCalls:
    """Return the calls among the output items of a Responses answer."""
    found = list(items)
    kinds = [get_text(item, "type") for item in found]
    calls = tuple(_item_call(item) for item, kind in zip(found, kinds, strict=True) if kind in CALL_ITEMS)
    others = any(k.endswith(_ITEMS_OF_PROVIDERS) and k not in CALL_ITEMS for k in kinds)
    parts = [part for item in found for part in get_list(item, "content")]
    spoke = any(get_text(part, "text").strip() or get_text(part, "refusal") for part in parts)
    return AnswerCalls((calls,), others, spoke=spoke, reasoned="reasoning" in kinds)


def _item_call(item: Any) -> ToolCall:
    custom = get_field(item, "type") != CALL_ITEMS[0]
    name, namespace = get_text(item, "name"), get_text(item, "namespace")
    argument = get_field(item, "input" if custom else "arguments")
    return ToolCall(f"{namespace}.{name}" if namespace else name, argument, get_text(item, "call_id"), custom=custom)


def blocks_calls(blocks: Sequence[Any]) -> AnswerCalls:
    """Return the calls among the content blocks of a Messages answer."""
    calls = tuple(
        ToolCall(get_text(block, "name"), get_field(block, "input"), get_text(block, "id"))
        for block in blocks
        if get_field(block, "type") == CALL_BLOCK
    )
    return AnswerCalls((calls,), any(is_providers_block(get_text(block, "type")) for block in blocks))


def is_providers_block(kind: str) -> bool:
    """Check for a Messages block about a call that the provider runs itself."""
    return kind.endswith(_BLOCKS_OF_PROVIDERS)


def whole_calls(response: Any) -> AnswerCalls:
    """Return the calls of a whole answer of chat, Responses or Messages."""
    choices = get_field(response, "choices")
    if choices and not isinstance(choices, str):
        return AnswerCalls(tuple(tuple(message_calls(get_field(choice, "message"))) for choice in choices))
    if output := get_list(response, "output"):
        return items_calls(output)
    return blocks_calls(get_list(response, "content"))
