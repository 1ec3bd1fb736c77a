"""Who the examples ask: real providers where a key is set, else two simulated ones on this machine.

The simulated ones speak OpenAI's HTTP; ``shaky`` breaks every second tool call.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin import Exacto
    from exacto_plugin.demo.provider import SimulatedProviders

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather forecast of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
                "required": ["city", "days"],
            },
        },
    }
]

_REAL = {
    "OPENROUTER_API_KEY": "openrouter/moonshotai/kimi-k2-0905",
    "FIREWORKS_API_KEY": "fireworks_ai/accounts/fireworks/models/kimi-k2-instruct-0905",
    "TOGETHER_API_KEY": "together_ai/moonshotai/Kimi-K2-Instruct-0905",
}


def question(number: int) -> list[dict[str, str]]:
    """The first message of a conversation; another number makes another conversation.

    Messages that begin alike are one conversation, and a conversation stays at its deployment.
    """
    return [{"role": "user", "content": f"What is the weather in Lisbon, and {number} days later?"}]


@contextmanager
def deployments() -> Iterator[list[dict[str, Any]]]:
    """A ``model_list`` for ``litellm.Router`` whose model group is ``kimi-k2``."""
    real = [
        _entry(model, {"model": model, "api_key": os.environ[key]}) for key, model in _REAL.items() if key in os.environ
    ]
    if real:
        yield real
        return
    with _simulated() as simulated:
        simulated.control.behave("shaky", error_rate=0.5)
        # Two names of this machine, so that the two count as two hosts.
        hosts = {"steady": "127.0.0.1", "shaky": "localhost"}
        urls = {name: simulated.api_base(name).replace("127.0.0.1", host) for name, host in hosts.items()}
        yield [
            _entry(name, {"model": "openai/kimi-k2", "api_base": url, "api_key": "sk-none"})
            for name, url in urls.items()
        ]


def _simulated() -> SimulatedProviders:
    try:
        from exacto_plugin.demo.provider import SimulatedProviders
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"the simulated providers need a web server, and {error.name} is missing: pip install starlette uvicorn,"
            f" or set one of {', '.join(_REAL)}"
        ) from None

    return SimulatedProviders()


def broken(exacto: Exacto) -> int:
    """The answers with a broken tool call so far."""
    flaws = exacto.flaws().values()
    return sum(count for group in flaws for deployment in group.values() for count in deployment.values())


def _entry(name: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"model_name": "kimi-k2", "litellm_params": params, "model_info": {"id": name}}
