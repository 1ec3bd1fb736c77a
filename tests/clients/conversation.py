"""Reads requests of all three APIs: the tools that they offer, and how far the work has come.

A prompt says how many calls are wanted and where: ``calls=8 dir=/tmp/x``, with `` of`` and a marker for an agent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORK: Final = re.compile(r"calls=(\d+) dir=([\w./-]+)( of )?")
_AGENT: Final = re.compile(r'^{"(?:agent_id":"([^"]+)|task_name)"')
"""Codex's result of a started agent, in its two forms."""
_NEW_TASK: Final = "Message Type: NEW_TASK"
"""Part of a prompt that Codex gives its agent, whose text it encrypts."""
_SUMMARY: Final = "summary of the conversation"
"""Part of Claude Code's prompt when it compacts, which still offers tools."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that a request offers."""

    name: str
    schema: Mapping[str, Any] | None = None
    """None: its calls are plain text."""
    namespace: str = ""
    search: bool = False
    """True for a search of tools that the client runs."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request as far as its answer depends on it."""

    offers: tuple[Offer, ...]
    forced: str
    """The only tool that may be called; empty: any or none."""
    due: int
    """Calls that are still to be made."""
    directory: str
    """Where they may be made."""
    compacts: bool = False
    """True if a summary of the conversation is due."""
    by_agent: bool = False
    """True if an agent of the client asks."""
    agent: str | None = None
    """An agent that the last call has started, to be waited for; empty where it has no id."""


def read_request(body: Mapping[str, Any]) -> Conversation:
    """Read a request of chat completions, Messages or Responses."""
    wanted, done, directory, by_agent, compacts = 0, 0, "", False, False
    turns = body.get("messages") or body.get("input") or body.get("prompt") or ()
    last = None
    for is_result, text in _events(turns if isinstance(turns, list) else [{"role": "user", "content": turns}]):
        last = text if is_result else None
        compacts = not is_result and _SUMMARY in text
        by_agent = by_agent or (not is_result and _NEW_TASK in text)
        found = () if is_result else _WORK.findall(text)
        if is_result:
            done += 1
        elif found:
            wanted, done, directory, by_agent = int(found[-1][0]), 0, found[-1][1], bool(found[-1][2])
        elif compacts:
            wanted = 0
    choice = body.get("tool_choice")
    forced = choice.get("name") or (choice.get("function") or {}).get("name") if isinstance(choice, Mapping) else None
    started = _AGENT.search(last or "")
    agent = started[1] or "" if started else None
    offers = tuple(_offers(_entries(body)))
    return Conversation(offers, str(forced or ""), max(0, wanted - done), directory, compacts, by_agent, agent)


def _events(turns: list[Any]) -> Iterator[tuple[bool, str]]:
    """Yield the texts of the user, and the results of tools with True before them."""
    for turn in turns:
        content = turn.get("content")
        if turn.get("role") == "tool" or str(turn.get("type")).endswith("_output"):
            yield True, str(turn.get("output") or content)
        elif turn.get("role") == "user" and isinstance(content, str):
            yield False, content
        elif turn.get("role") == "user" or turn.get("type") == "agent_message":
            for part in content or ():
                yield part.get("type") == "tool_result", str(part.get("text") or "")


def _entries(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the entries that bring tools, of the request and of its input."""
    yield from body.get("tools") or ()
    turns = body.get("input")
    for item in turns if isinstance(turns, list) else ():
        if item.get("type") in ("additional_tools", "tool_search_output"):
            yield from item.get("tools") or ()


def _offers(entries: Iterator[Mapping[str, Any]], namespace: str = "") -> Iterator[Offer]:
    for entry in entries:
        kind, function = entry.get("type"), entry.get("function") or entry
        schema = function.get("parameters") or function.get("input_schema")
        if kind == "namespace":
            yield from _offers(iter(entry.get("tools") or ()), str(entry.get("name")))
        elif kind == "custom" and schema is None:
            yield Offer(str(entry.get("name")), None, namespace)
        elif kind == "tool_search":
            yield Offer(kind, schema, search=True)
        elif isinstance(schema, Mapping) and function.get("name"):
            yield Offer(str(function["name"]), schema, namespace)
