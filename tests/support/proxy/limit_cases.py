"""Every way in which a request can come to a deployment: each surface times each form of naming a model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

AT_ONCE: Final = 16
"""Requests under way at a time."""

Body = dict[str, Any]


def _chat(_model: str, text: str, stream: bool) -> tuple[str, Body]:
    return "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "stream": stream}


def _azure(model: str, text: str, stream: bool) -> tuple[str, Body]:
    return f"/openai/deployments/{model}/chat/completions", _chat(model, text, stream)[1]


def _text(_model: str, text: str, stream: bool) -> tuple[str, Body]:
    return "/v1/completions", {"prompt": text, "stream": stream}


def _responses(_model: str, text: str, stream: bool) -> tuple[str, Body]:
    return "/v1/responses", {"input": text, "stream": stream}


def _messages(model: str, text: str, stream: bool) -> tuple[str, Body]:
    return "/v1/messages", {**_chat(model, text, stream)[1], "max_tokens": 50}


def _gemini(model: str, text: str, stream: bool) -> tuple[str, Body]:
    verb = "streamGenerateContent" if stream else "generateContent"
    return f"/v1beta/models/{model}:{verb}", {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def _embeddings(_model: str, text: str, _stream: bool) -> tuple[str, Body]:
    return "/v1/embeddings", {"input": text}


@dataclass(frozen=True)
class Surface:
    """One API of the proxy.

    Args:
        ask: the path and the body without its ``model``, of a model, a text and whether to stream.
        in_path: the model stands in the path, and nowhere else.
        streams: it has streams.
        several: it reads several models separated by commas.
        lazy: LiteLLM sends a stream's request when the stream is read, which is too late for a fallback.
    """

    ask: Callable[[str, str, bool], tuple[str, Body]]
    in_path: bool = False
    streams: bool = True
    several: bool = False
    lazy: bool = False


SURFACES: Final = {
    "chat": Surface(_chat, several=True),
    "azure": Surface(_azure, in_path=True),
    "text": Surface(_text, lazy=True),
    "responses": Surface(_responses),
    "messages": Surface(_messages),
    "gemini": Surface(_gemini, in_path=True),
    "embeddings": Surface(_embeddings, streams=False),
}


@dataclass(frozen=True)
class Names:
    """What the forms are made of.

    Args:
        pinned: the deployment that they lead to.
        group: its model group.
        stuck: a model group whose only deployment always fails.
        alias: a key's own name for the deployment.
        configured: model groups that always fail and whose configured fallback is the deployment, without and with a
            suffix.
    """

    pinned: str
    group: str
    stuck: str
    alias: str
    configured: tuple[str, str]


@dataclass(frozen=True)
class Form:
    """One form of naming a model: the ``model``, and what else stands in the body."""

    name: str
    model: str | None
    more: Mapping[str, Any] = field(default_factory=dict)
    falls_back: bool = False
    """It leads to the deployment once another one has failed."""

    @property
    def batch(self) -> bool:
        """Several models, each of which answers."""
        return self.model is not None and "," in self.model


def forms(to: Names) -> Iterator[Form]:
    """Every form that leads, or may lead, to one deployment."""
    it, group, stuck = to.pinned, to.group, to.stuck
    yield Form("group", group)
    for suffix in ("", ":exacto", ":floor:exacto"):
        yield Form(f"id{suffix}", f"{it}{suffix}")
    yield Form("alias", to.alias)
    yield Form("alias:exacto", f"{to.alias}:exacto")
    yield Form("wishes", it, {"provider": {"order": [it], "allow_fallbacks": False}})
    yield Form("comma", f"{group},{it}")
    yield Form("comma:exacto", f"{it}:exacto,{group}")
    yield Form("models", stuck, {"models": [it]}, falls_back=True)
    yield Form("models:exacto", None, {"models": [f"{it}:exacto", stuck]})
    own: list[Any]
    for own in ([it], [{"model": it}], [{"model": f"{it}:exacto"}], [{stuck: [it]}]):
        yield Form(f"fallbacks {own}", stuck, {"fallbacks": own}, falls_back=True)
    for own in ([{stuck: [it]}], [{stuck: [f"{it}:exacto"]}]):
        yield Form(f"override {own}", stuck, {"router_settings_override": {"fallbacks": own}}, falls_back=True)
    for name, suffix in zip(to.configured, ("", ":exacto"), strict=True):
        yield Form(f"configured{suffix}", name, falls_back=True)


@dataclass(frozen=True)
class Way:
    """One request."""

    name: str
    """Tells it from every other; a provider's log has it in the text that was asked."""
    key: str
    surface: Surface
    form: Form
    stream: bool
    to: str

    @property
    def leads(self) -> bool:
        """Whether LiteLLM takes the request to the deployment if nobody rules it out."""
        form, surface = self.form, self.surface
        if surface.in_path and (form.name == "alias:exacto" or form.name.startswith("models")):
            return False  # a caller's own names, and lists of models, are read in bodies
        late = surface.lazy and self.stream and form.falls_back
        return not late

    @property
    def answers(self) -> bool:
        """Whether LiteLLM answers then: of several models it has no stream."""
        return self.leads and not (self.form.batch and self.stream)

    def request(self, base_url: str) -> httpx.Request:
        """As it is sent."""
        model, surface = self.form.model, self.surface
        path, body = surface.ask(model or "", f"<{self.name}>", self.stream)
        named = {} if model is None or surface.in_path else {"model": model}
        headers = {"Authorization": f"Bearer {self.key}", "x-goog-api-key": self.key}
        return httpx.Request("POST", f"{base_url}{path}", json={**named, **body, **self.form.more}, headers=headers)


def ways(key: str, to: Names) -> list[Way]:
    """Every way of one key to one deployment."""
    return [
        Way(
            f"{key} {name} {'streamed' if stream else 'whole'} {form.name} {to.pinned}",
            key,
            surface,
            form,
            stream,
            to.pinned,
        )
        for name, surface in SURFACES.items()
        for stream in ((False, True) if surface.streams else (False,))
        for form in forms(to)
        if (surface.several or not form.batch) and not (form.model is None and surface.in_path)
    ]


def answers(base_url: str, asked: Sequence[Way]) -> dict[str, httpx.Response]:
    """What each of these got, by name, asked at the same time, or nearly; streams are read to their end."""

    async def one(client: httpx.AsyncClient, turn: asyncio.Semaphore, way: Way) -> tuple[str, httpx.Response]:
        async with turn:
            return way.name, await client.send(way.request(base_url))

    async def all_of_them() -> dict[str, httpx.Response]:
        turn = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(timeout=60.0, trust_env=False, verify=False) as client:
            return dict(await asyncio.gather(*(one(client, turn, way) for way in asked)))

    return asyncio.run(all_of_them())
