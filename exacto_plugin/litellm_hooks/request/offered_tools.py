"""The tools that a request offers, wherever it has them.

Most requests list them in ``tools`` or, in OpenAI's older form, in ``functions``. A Responses request may also have
them in its input: Codex sends all tools of newer models as one ``additional_tools`` item, and a client that searches
tools itself returns those that it found in ``tool_search_output`` items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ITEMS: Final = ("additional_tools", "tool_search_output")
"""Types of input items with ``tools``."""


def offered_tools(kwargs: Mapping[str, Any]) -> Sequence[Any]:
    """Return the tools of a request, as the client sent them; the list itself where there is no other.

    Args:
        kwargs: the request as LiteLLM routes it.
    """
    listed: Sequence[Any] = kwargs.get("tools") or kwargs.get("functions") or ()
    brought = [tool for tools in _in_input(kwargs) for tool in tools]
    return [*listed, *brought] if brought else listed


def offers_tools(kwargs: Mapping[str, Any]) -> bool:
    """Return whether the request offers tools."""
    return bool(kwargs.get("tools") or kwargs.get("functions")) or any(_in_input(kwargs))


def _in_input(kwargs: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the tools of each input item that has some."""
    items = kwargs.get("input")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping) and item.get("type") in _ITEMS:
            tools = item.get("tools")
            if isinstance(tools, list) and tools:
                yield tools
