"""Ids by which real clients name a conversation, through a real proxy: later turns stay, whatever they begin with."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy.openai_client import asked, config
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.questions import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

NAMES = ("w", "x", "y", "z")
SESSIONS = 10
"""Chance keeps all of them at their deployment once in a million runs."""
FUNCTIONS: list[Any] = [{"type": "function", **TOOLS[0]["function"]}]
INPUTS: list[Any] = [{"name": "get_weather", "input_schema": TOOLS[0]["function"]["parameters"]}]
_NUMBERS = itertools.count()


def _list(server: SimulatedProviders) -> list[dict[str, Any]]:
    return [deployment(server, name, "sessions") for name in NAMES]


@pytest.fixture(scope="module")
def running(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """A proxy with the ids that count by default."""
    return start_proxy(config(_list(provider_server), exploration={"share": 0}))


@pytest.fixture(scope="module")
def chosen(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """A proxy with one id that counts, and only one."""
    affinity = {"session_ids": ["x-session-affinity"]}
    return start_proxy(config(_list(provider_server), exploration={"share": 0}, affinity=affinity))


@pytest.fixture(autouse=True)
def _no_calls(providers: SimulatedProviders) -> None:
    """No verdict comes about."""
    for name in NAMES:
        providers.control.behave(name, propensity=0.0)


def _said() -> list[Any]:
    """The first message of a conversation that was never held before."""
    return [
        {"role": "user", "content": f"conversation {next(_NUMBERS)}"},
        {"role": "assistant", "content": "So?"},
        {"role": "user", "content": "Go on."},
    ]


def _chat(proxy: Proxy, **more: Any) -> None:
    create: Any = proxy.client().chat.completions.create
    create(model="sessions", messages=_said(), tools=TOOLS, **more)


def _responses(proxy: Proxy, **more: Any) -> None:
    create: Any = proxy.client().responses.create
    create(model="sessions", input=_said(), tools=FUNCTIONS, **more)


def _messages(proxy: Proxy, messages: Any = None, **more: Any) -> None:
    with proxy.anthropic() as client:
        create: Any = client.messages.create
        create(model="sessions", messages=messages or _said(), max_tokens=50, tools=INPUTS, **more)


def _header(name: str) -> Callable[[str], dict[str, Any]]:
    return lambda session: {"extra_headers": {name: session}}


def _body(name: str) -> Callable[[str], dict[str, Any]]:
    return lambda session: {"extra_body": {name: session}}


def _claude(session: str) -> dict[str, Any]:
    user = {"device_id": "d" * 64, "account_uuid": "", "session_id": session}
    return {"metadata": {"user_id": json.dumps(user)}}


def _older_claude(session: str) -> dict[str, Any]:
    return {"metadata": {"user_id": f"user_{'a' * 64}_account_{uuid.UUID(int=7)}_session_{session}"}}


WAYS = {
    "x-claude-code-session-id": (_messages, _header("x-claude-code-session-id")),
    "Claude Code's user id": (_messages, _claude),
    "Claude Code's older user id": (_messages, _older_claude),
    "x-litellm-session-id": (_chat, _header("x-litellm-session-id")),
    "litellm_session_id": (_chat, _body("litellm_session_id")),
    "litellm_session_id of Responses": (_responses, _body("litellm_session_id")),
    "session-id of Codex": (_responses, _header("session-id")),
    "session_id of Codex": (_responses, _header("session_id")),
    "x-session-affinity": (_chat, _header("x-session-affinity")),
    "x-session-id": (_chat, _header("x-session-id")),
}


def _place(providers: SimulatedProviders, ask: Callable[[], None]) -> str:
    before = asked(providers, NAMES)
    ask()
    (place,) = (name for name, count in asked(providers, NAMES).items() if count > before[name])
    return place


def _kept(proxy: Proxy, providers: SimulatedProviders, way: str) -> tuple[int, int]:
    """How many of some sessions went on where they began, and at how many deployments they are."""
    ask, named = WAYS[way]
    pairs = []
    for _ in range(SESSIONS):
        more = named(str(uuid.uuid4()))
        pairs.append([_place(providers, lambda more=more: ask(proxy, **more)) for _ in range(2)])  # type: ignore[misc]
    return sum(one == two for one, two in pairs), len({one for one, _ in pairs})


@pytest.mark.parametrize("way", WAYS)
def test_a_session_goes_on_after_a_compaction(running: Proxy, providers: SimulatedProviders, way: str) -> None:
    """The second request has the id of the first, and another beginning."""
    kept, places = _kept(running, providers, way)
    assert kept == SESSIONS
    assert places > 1


def test_which_ids_count_is_set(chosen: Proxy, providers: SimulatedProviders) -> None:
    """With the one that is listed sessions stay; with others, chance alone keeps them."""
    assert _kept(chosen, providers, "x-session-affinity")[0] == SESSIONS
    assert _kept(chosen, providers, "x-claude-code-session-id")[0] < SESSIONS


def test_billing_is_no_part_of_a_beginning(running: Proxy, providers: SimulatedProviders) -> None:
    """Claude Code puts a line before its system prompt that changes from request to request."""
    places = set()
    for number in range(SESSIONS):
        said = _said()
        pair = []
        for version in ("faf", "f9d"):
            billing = f"x-anthropic-billing-header: cc_version=2.1.197.{version}; cc_entrypoint=cli; cch={number};"
            system = [{"type": "text", "text": text} for text in (billing, "You are Claude Code.")]
            ask = lambda said=said, system=system: _messages(running, said, system=system)  # noqa: E731
            pair.append(_place(providers, ask))
        assert len(set(pair)) == 1
        places.update(pair)
    assert len(places) > 1
