"""Suites of tool-call requests: the bundled one, and files.

The bundled suite is made from templates in ``data/verifier``: twenty tools with schemas of all kinds, requests in seven
languages, further tools that do not fit, earlier turns, required calls, and requests that need no tool.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from random import Random
from typing import TYPE_CHECKING, Any

import orjson

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

REQUESTS = 400
"""Requests of the bundled suite: enough for 250 calls, as four of five ask for one."""

MAX_TOKENS = 4096
"""Limit of an answer: cut-off answers are excused, and are no evidence."""

_PLAIN_EVERY = 5
"""One of so many requests needs no tool."""

_KEPT = ("messages", "tools", "tool_choice", "temperature", "top_p", "max_tokens", "max_completion_tokens")
"""Fields of a request in a file that are sent; the others belong to the program that wrote it."""

Body = dict[str, Any]


class SuiteError(ExactoError):
    """A file that holds no tool-call requests."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Requests in the order in which they are sent, without a model's name."""

    name: str
    bodies: Sequence[Body]

    def digest(self, scoring: str) -> str:
        """Return sixteen hexadecimal digits of the requests and their scoring."""
        text = orjson.dumps([self.bodies, scoring], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(text).hexdigest()[:16]

    @property
    def characters(self) -> int:
        """Characters of all requests."""
        return sum(len(orjson.dumps(body)) for body in self.bodies)


def bundled_suite(requests: int = REQUESTS) -> Suite:
    """Return the bundled suite: the same requests in the same order each time."""
    text = files("exacto_plugin").joinpath("data/verifier/requests.json").read_bytes()
    return Suite("bundled", list(_bodies(orjson.loads(text), Random(20), requests)))


def suite_of_file(path: Path) -> Suite:
    """Read requests, one JSON object a line.

    The form is that of the K2 Vendor Verifier's ``samples.jsonl``.

    Raises:
        SuiteError: a line is no request with messages and tools, or there is none.
    """
    bodies: list[Body] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise SuiteError(f"{path}, line {number}: no JSON") from None
        body = {key: found[key] for key in _KEPT if key in found} if isinstance(found, dict) else {}
        if not all(isinstance(body.get(key), list) and body[key] for key in ("messages", "tools")):
            raise SuiteError(f"{path}, line {number}: no request with `messages` and `tools`")
        bodies.append(body)
    if not bodies:
        raise SuiteError(f"{path}: no request in it")
    return Suite(path.name, bodies)


def _bodies(templates: Mapping[str, Any], random: Random, requests: int) -> Iterator[Body]:
    """Make the requests; each is drawn by its number from the templates."""
    tasks, plain = templates["tasks"], templates["plain"]
    for number in range(requests):
        task = tasks[(number * 7) % len(tasks)]
        needs_call = number % _PLAIN_EVERY != _PLAIN_EVERY - 1
        text = _asked(task, random) if needs_call else plain[(number // _PLAIN_EVERY) % len(plain)]
        others = random.sample([one["tool"] for one in tasks if one is not task], random.choice((0, 1, 2, 4, 7)))
        tools = [task["tool"], *others]
        random.shuffle(tools)
        system = random.choice(templates["systems"])
        messages = [{"role": "system", "content": system}] if system else []
        if random.random() < 0.15:
            messages += _earlier_turn(tools)
        body: Body = {"messages": [*messages, {"role": "user", "content": text}], "tools": tools}
        if needs_call and random.random() < 0.1:
            body["tool_choice"] = "required"
        yield {**body, "max_tokens": MAX_TOKENS}


def _asked(task: Mapping[str, Any], random: Random) -> str:
    """Return a request for a task, in one of its languages, with its slots filled."""
    text: str = random.choice(task["asks"])
    for slot, values in task["slots"].items():
        text = text.replace("{" + slot + "}", random.choice(values))
    return text


def _earlier_turn(tools: Sequence[Any]) -> list[Body]:
    """Return a finished turn with a call of the first tool, and its result."""
    name = tools[0]["function"]["name"]
    call = {"id": "call_0", "type": "function", "function": {"name": name, "arguments": "{}"}}
    return [
        {"role": "user", "content": "Try it once."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_0", "content": '{"error": "parameters missing"}'},
        {"role": "assistant", "content": "It needs parameters. What shall I do?"},
    ]
