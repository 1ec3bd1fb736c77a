"""What the end-to-end tests ask: one tool with a strict schema, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import openai

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
MESSAGES: list[Any] = [{"role": "user", "content": "What is the weather in Lisbon?"}]


def ask(client: openai.OpenAI, model: str, *, stream: bool = False, tools: bool = True, **more: Any) -> list[Any]:
    """Send one chat completion and read the answer to its end.

    Args:
        client: of a proxy.
        model: the slug.
        stream: whether to stream.
        tools: whether to offer ``TOOLS``.
        more: further arguments of ``chat.completions.create``.

    Returns:
        The chunks of a stream, or the whole answer as the only element.
    """
    asked: dict[str, Any] = {"model": model, "messages": MESSAGES, **({"tools": TOOLS} if tools else {}), **more}
    if not stream:
        return [client.chat.completions.create(**asked)]
    return list(client.chat.completions.create(**asked, stream=True))
