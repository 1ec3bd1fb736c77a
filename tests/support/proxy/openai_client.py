"""How the request-side tests ask: through the real ``openai`` client, whole or streamed; and what came back."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openai

from tests.support.proxy.proxy import CALLBACK, MASTER_KEY
from tests.support.proxy.questions import TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import httpx

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.support.proxy.proxy import Proxy


_NUMBERS = itertools.count()
"""Every request without messages of its own begins a conversation of its own."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that a client got."""

    model: str
    headers: Mapping[str, str]
    arguments: str = ""
    """Of the tool calls, joined."""
    models: frozenset[str] = field(default_factory=frozenset)
    """Every model name that the answer (each chunk of a stream) carries."""

    @property
    def policy(self) -> str | None:
        """``x-exacto-policy``."""
        return self.headers.get("x-exacto-policy")

    @property
    def deployment(self) -> str | None:
        """``x-exacto-deployment``."""
        return self.headers.get("x-exacto-deployment")


def ask(
    proxy: Proxy, model: str | None, *, key: str = MASTER_KEY, stream: bool = False, tools: bool = True, **more: Any
) -> Reply:
    """One chat completion.

    Args:
        proxy: the proxy to ask.
        model: the slug; None leaves the field out.
        key: the API key.
        stream: whether to ask for a stream, and read it to its end.
        tools: whether to offer tools.
        more: further fields of the body, the client's own or ``extra_body``'s alike; ``headers`` are sent as such.

    Raises:
        openai.APIStatusError: the proxy answered with an error.
    """
    messages = more.pop("messages", None) or [{"role": "user", "content": f"Weather {next(_NUMBERS)}?"}]
    headers = more.pop("headers", None)
    body = {**({"tools": TOOLS} if tools else {}), **more}
    create: Any = proxy.client(key).chat.completions.with_raw_response.create
    named = openai.omit if model is None else model
    raw = create(model=named, messages=messages, stream=stream, extra_body=body, extra_headers=headers)
    answer = raw.parse()
    if not stream:
        calls = answer.choices[0].message.tool_calls or ()
        joined = "".join(call.function.arguments for call in calls)
        return Reply(answer.model, raw.headers, joined, frozenset({answer.model}))
    models: list[str] = []
    pieces: list[str] = []
    for chunk in answer:
        models.append(chunk.model)
        for choice in chunk.choices:
            pieces += [call.function.arguments or "" for call in choice.delta.tool_calls or ()]
    return Reply(models[-1], raw.headers, "".join(pieces), frozenset(models))


def post(proxy: Proxy, path: str, body: Mapping[str, Any], key: str = MASTER_KEY) -> httpx.Response:
    """A bare request, for what the official clients cannot send."""
    return proxy.request("POST", path, key, json=body)


def asked(providers: SimulatedProviders, names: Iterable[str]) -> dict[str, int]:
    """How often each of these providers was asked."""
    states = providers.control.states()
    return {name: states[name]["requests"] if name in states else 0 for name in names}


def bodies(providers: SimulatedProviders, names: Sequence[str]) -> list[dict[str, Any]]:
    """The bodies that these providers got."""
    return [seen["body"] for name in names for seen in providers.control.seen(name)]


def error_of(error: Any) -> dict[str, Any]:
    """The ``error`` object of an API error's body."""
    found = error.response.json()["error"]
    assert isinstance(found, dict)
    return found


def config(model_list: Sequence[Mapping[str, Any]], *, router: Mapping[str, Any] | None = None, **exacto: Any) -> Any:
    """A proxy's configuration with the plugin.

    Args:
        model_list: the deployments.
        router: ``router_settings``.
        exacto: ``exacto_settings``.
    """
    return {
        "model_list": list(model_list),
        "router_settings": dict(router or {}),
        "litellm_settings": {"callbacks": [CALLBACK]},
        "exacto_settings": exacto,
    }


def prices(prompt: float, completion: float) -> dict[str, Any]:
    """``litellm_params`` of a price, in USD per million tokens."""
    return {"input_cost_per_token": prompt / 1e6, "output_cost_per_token": completion / 1e6}
