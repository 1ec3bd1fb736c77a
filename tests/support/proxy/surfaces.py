"""One question with a tool on each surface that tool calls come back through, by the official asynchronous clients."""

from __future__ import annotations

import inspect
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import anthropic
import openai

from tests.support.proxy.proxy import MASTER_KEY
from tests.support.proxy.questions import PARAMETERS, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FUNCTIONS: Final[list[Any]] = [{"type": "function", "name": "get_weather", "parameters": PARAMETERS}]
INPUTS: Final[list[Any]] = [{"name": "get_weather", "input_schema": PARAMETERS}]
_NUMBERS = itertools.count()
"""Every question begins a conversation of its own."""


class Clients:
    """The official clients of one proxy; they do not retry.

    Args:
        base_url: of the proxy.
    """

    def __init__(self, base_url: str) -> None:
        options: dict[str, Any] = {"max_retries": 0, "timeout": 60.0}
        # What is below them loads no certificates; see tests.support.proxy.bare_http.
        below = openai.DefaultAsyncHttpxClient(verify=False)
        self.openai = openai.AsyncOpenAI(api_key=MASTER_KEY, base_url=f"{base_url}/v1", http_client=below, **options)
        own = anthropic.DefaultAsyncHttpxClient(verify=False)
        self.anthropic = anthropic.AsyncAnthropic(api_key=MASTER_KEY, base_url=base_url, http_client=own, **options)
        # LiteLLM takes a key from Azure's own header as well.
        self.azure = openai.AsyncAzureOpenAI(
            api_key=MASTER_KEY, azure_endpoint=base_url, api_version="2024-10-21", http_client=below, **options
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        for client in (self.openai, self.anthropic, self.azure):
            await client.close()


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client got."""

    headers: Mapping[str, str]
    models: frozenset[str]
    """Every model name that the answer carries."""
    said: str
    """Text and arguments of tool calls, in the order in which they came."""


Asking = tuple[Any, dict[str, Any]]
"""What to call, of a client's ``with_raw_response``, and with which body."""


@dataclass(frozen=True, slots=True)
class Surface:
    """One API of the proxy.

    Args:
        asking: the call of the official client for a slug and a question.
        whole: reads what a whole answer says.
        event: reads what an event of a stream says; the arguments of a call come as they are written.
        event_model: the model name in an event, if it carries one.
    """

    asking: Callable[[Clients, str, str], Asking]
    whole: Callable[[Any], Iterator[str]]
    event: Callable[[Any], str | None]
    event_model: Callable[[Any], str | None]

    async def ask(
        self, clients: Clients, slug: str, *, stream: bool, leaves: bool = False, question: str = "", **more: Any
    ) -> Heard:
        """Ask once and read the answer.

        Args:
            clients: of the proxy.
            slug: the model.
            stream: whether to stream.
            leaves: hang up once a stream has said something.
            question: the user's message; empty: one that nobody asked before.
            more: of the client's call, for instance ``extra_body``.

        Raises:
            openai.APIError, anthropic.APIError: as the client does.
        """
        question = question or f"What is the weather in Lisbon, no. {next(_NUMBERS)}?"
        create, body = self.asking(clients, slug, question)
        raw = await create(**{**body, **more}, stream=stream)
        parsed = raw.parse()
        answer: Any = await parsed if inspect.isawaitable(parsed) else parsed
        if not stream:
            return Heard(raw.headers, frozenset({answer.model}), "".join(self.whole(answer)))
        said: list[str] = []
        models: set[str] = set()
        async with answer:
            async for event in answer:
                models.update(filter(None, [self.event_model(event)]))
                said += filter(None, [self.event(event)])
                if leaves and said:
                    break
        return Heard(raw.headers, frozenset(models), "".join(said))


def _asked(question: str) -> list[Any]:
    return [{"role": "user", "content": question}]


def _chat(clients: Clients, slug: str, question: str) -> Asking:
    create = clients.openai.chat.completions.with_raw_response.create
    return create, {"model": slug, "messages": _asked(question), "tools": TOOLS}


def _azure(clients: Clients, slug: str, question: str) -> Asking:
    create = clients.azure.chat.completions.with_raw_response.create
    return create, {"model": slug, "messages": _asked(question), "tools": TOOLS}


def _text(clients: Clients, slug: str, question: str) -> Asking:
    return clients.openai.completions.with_raw_response.create, {"model": slug, "prompt": question}


def _responses(clients: Clients, slug: str, question: str) -> Asking:
    create = clients.openai.responses.with_raw_response.create
    return create, {"model": slug, "input": question, "tools": FUNCTIONS}


def _messages(clients: Clients, slug: str, question: str) -> Asking:
    create = clients.anthropic.messages.with_raw_response.create
    return create, {"model": slug, "messages": _asked(question), "tools": INPUTS, "max_tokens": 500}


def _chat_whole(answer: Any) -> Iterator[str]:
    message = answer.choices[0].message
    yield message.content or ""
    yield from (call.function.arguments for call in message.tool_calls or ())


def _chat_event(event: Any) -> str | None:
    if not event.choices:
        return None
    delta = event.choices[0].delta
    calls = delta.tool_calls or ()
    return delta.content or "".join(call.function.arguments or "" for call in calls)


def _responses_whole(answer: Any) -> Iterator[str]:
    for item in answer.output:
        yield item.arguments if item.type == "function_call" else "".join(part.text for part in item.content)


def _responses_event(event: Any) -> str | None:
    deltas = ("response.output_text.delta", "response.function_call_arguments.delta")
    return event.delta if event.type in deltas else None


def _responses_model(event: Any) -> str | None:
    response = getattr(event, "response", None)
    return None if response is None else str(response.model)


def _messages_whole(answer: Any) -> Iterator[str]:
    for block in answer.content:
        yield block.text if block.type == "text" else json.dumps(block.input)


def _messages_event(event: Any) -> str | None:
    if event.type != "content_block_delta":
        return None
    return getattr(event.delta, "text", None) or getattr(event.delta, "partial_json", None)


def _messages_model(event: Any) -> str | None:
    return event.message.model if event.type == "message_start" else None


def _model(event: Any) -> str | None:
    return str(event.model)


CHAT: Final = Surface(_chat, _chat_whole, _chat_event, _model)
AZURE: Final = Surface(_azure, _chat_whole, _chat_event, _model)
RESPONSES: Final = Surface(_responses, _responses_whole, _responses_event, _responses_model)
MESSAGES: Final = Surface(_messages, _messages_whole, _messages_event, _messages_model)
TEXT: Final = Surface(
    _text,
    lambda answer: iter([answer.choices[0].text]),
    lambda event: event.choices[0].text if event.choices else None,
    _model,
)
