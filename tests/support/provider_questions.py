"""What the tests of simulated providers ask, and how they read answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft7Validator

from exacto_plugin.demo.behaviour import Act

if TYPE_CHECKING:
    import openai

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "get_tides", "description": "Tides", "parameters": PARAMETERS}},
]
RESPONSES_TOOLS: list[Any] = [{"type": "function", **tool["function"]} for tool in TOOLS]
ANTHROPIC_TOOLS: list[Any] = [{"name": tool["function"]["name"], "input_schema": PARAMETERS} for tool in TOOLS]
NAMES = {"get_weather", "get_tides"}
MESSAGES: list[Any] = [{"role": "user", "content": "What is the weather in Lisbon?"}]


def ask_whole(client: openai.OpenAI, **more: Any) -> Any:
    return client.chat.completions.create(model="m", messages=MESSAGES, **{"tools": TOOLS, **more})


def ask_chunks(client: openai.OpenAI, **more: Any) -> list[Any]:
    return list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **{"tools": TOOLS, **more}))


def streamed_calls(chunks: list[Any]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls in a stream, put together as a client does it."""
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for delta in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            call = calls.setdefault(delta.index, ["", "", ""])
            call[0] += delta.id or ""
            call[1] += delta.function.name or ""
            call[2] += delta.function.arguments or ""
    return [(call[0], call[1], call[2]) for _, call in sorted(calls.items())]


def read_into(chunks: list[Any], stream: Any) -> None:
    """Read a stream to its end or fault, keeping what came before it."""
    for chunk in stream:
        chunks.append(chunk)  # noqa: PERF402 -- extend() would lose what came before the fault


def ask_calls(
    client: openai.OpenAI, *, stream: bool, **more: Any
) -> tuple[list[tuple[str, str, str]], str | None, str]:
    """The calls, the finish reason and the text of one answer, whole or streamed."""
    if stream:
        chunks = ask_chunks(client, **more)
        finish = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        return streamed_calls(chunks), finish[-1] if finish else None, text
    choice = ask_whole(client, **more).choices[0]
    found = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
    return found, choice.finish_reason, choice.message.content or ""


def verdict(name: str, arguments: str) -> Act:
    """An independent reading of one call."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return Act.INVALID_JSON
    if name not in NAMES:
        return Act.UNKNOWN_NAME
    return Act.VALID if Draft7Validator(PARAMETERS).is_valid(value) else Act.SCHEMA_MISMATCH


both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
