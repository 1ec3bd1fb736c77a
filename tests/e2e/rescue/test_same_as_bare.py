"""Good streams through the plugin with rescue and through LiteLLM alone: the official clients see the same events.

Compared are their order and all of their content, but for what differs between any two requests: ids, times and the
signatures of thoughts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.demo.behaviour import Act
from tests.e2e.conftest import starting
from tests.e2e.rescue.conftest import PRICES
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exacto_plugin.demo.provider import SimulatedProviders

GROUPS = {
    "native": "openai/native",
    "talk": "openai/talk",
    "translated": "deepinfra/translated",
    "claude": "anthropic/claude-sonnet-4-5",
}
"""Those of the shared proxy, by the model that LiteLLM asks.

LiteLLM counts no costs of a deployment with prices of its own after its first text completion, so these go to ``talk``,
whose costs no test looks at.
"""
GOOD: dict[str, dict[str, Any]] = {
    "text": {"content": "The capital of France is Paris. It lies on the Seine."},
    "short": {"content": "4"},
    "error": {"content": "Error handling is done with try and except."},
    "emoji": {"content": "👍"},
    "reasoning": {"content": "Paris.", "reasoning": "The question is about France. Its capital is Paris."},
    "call": {"arguments": '{"city": "Lisbon", "days": 2}'},
    "talking": {"arguments": '{"city": "Lisbon", "days": 2}', "preamble": "Let me look that up."},
    "calls": {"arguments": '{"city": "Lisbon", "days": 2}', "calls": 2},
}
"""What a good provider says, in each case."""
CALLING = ("call", "talking", "calls")
VOLATILE = (
    "id",
    "item_id",
    "response_id",
    "call_id",
    "created",
    "created_at",
    "completed_at",
    "signature",
    "system_fingerprint",
)
RESPONSES_TOOLS: list[Any] = [{"type": "function", **TOOLS[0]["function"]}]
MESSAGES_TOOLS: list[Any] = [{"name": "get_weather", "input_schema": TOOLS[0]["function"]["parameters"]}]


@pytest.fixture(scope="module")
def bare(provider_server: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """LiteLLM alone, with the first deployment of each group."""
    entries = []
    for group, model in GROUPS.items():
        name = f"{group}-1"
        base = provider_server.api_base(name)
        url = base.removesuffix("/v1") if group == "claude" else base
        entries.append(deployment(provider_server, name, group, model=model, api_base=url, **PRICES))
    with starting(tmp_path_factory) as start:
        yield start({"model_list": entries, "router_settings": {"num_retries": 0}}, keys={})


def _chat(proxy: Proxy, model: str, tools: bool) -> list[Any]:
    create: Any = proxy.client().chat.completions.create
    more = {"tools": TOOLS} if tools else {}
    return list(create(model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **more))


def _text(proxy: Proxy, model: str, _tools: bool) -> list[Any]:
    create: Any = proxy.client().completions.create
    return list(create(model=model, prompt="The capital of France?", stream=True))


def _responses(proxy: Proxy, model: str, tools: bool) -> list[Any]:
    stream: Any = proxy.client().responses.stream
    more = {"tools": RESPONSES_TOOLS} if tools else {}
    with stream(model=model, input="Weather in Lisbon?", store=False, **more) as events:
        return list(events)


def _message(proxy: Proxy, model: str, tools: bool) -> list[Any]:
    more = {"tools": MESSAGES_TOOLS} if tools else {}
    with proxy.anthropic() as client:
        stream: Any = client.messages.stream
        with stream(model=model, max_tokens=500, messages=MESSAGES, **more) as events:
            return list(events)


SURFACES: dict[str, Callable[[Proxy, str, bool], list[Any]]] = {
    "chat": _chat,
    "text": _text,
    "responses": _responses,
    "messages": _message,
}
CASES = [
    (surface, group, case)
    for surface, groups in {
        "chat": ("native", "claude"),
        "text": ("talk",),
        "responses": ("native", "translated"),
        "messages": ("claude", "translated"),
    }.items()
    for group in groups
    for case in GOOD
    if surface != "text" or case not in (*CALLING, "reasoning")
]


def _seen(events: list[Any], *, estimated: bool) -> list[Any]:
    """The events without what differs between any two requests.

    Args:
        events: of the client.
        estimated: whether LiteLLM estimates the usage, by the ids of calls too.
    """
    return [_stable(event.model_dump(warnings=False), {"usage"} if estimated else set()) for event in events]


def _stable(value: Any, out: set[str]) -> Any:
    if isinstance(value, dict):
        return {name: _stable(one, out) for name, one in value.items() if name not in {*VOLATILE, *out}}
    return [_stable(one, out) for one in value] if isinstance(value, list) else value


# The client of OpenAI warns of items that its models of Responses do not have, with LiteLLM alone as well.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize(("surface", "group", "case"), CASES, ids=map("-".join, CASES))
def test_clients_see_no_difference(
    proxy: Proxy, bare: Proxy, providers: SimulatedProviders, surface: str, group: str, case: str
) -> None:
    """Event by event, in the same order."""
    for level in (1, 2):
        providers.control.behave(
            f"{group}-{level}", always=Act.VALID, prompt_tokens=12, completion_tokens=9, **GOOD[case]
        )
    estimated = group == "translated"
    seen = [_seen(SURFACES[surface](one, group, case in CALLING), estimated=estimated) for one in (bare, proxy)]
    assert seen[0]
    assert seen[1] == seen[0]
