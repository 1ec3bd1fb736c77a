"""Rescue in the SDK: a real async ``litellm.Router`` with the callback, simulated providers over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.demo.behaviour import Act
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.litellm_hooks import router_patches
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from tests.support.program_overrides import say_good
from tests.support.proxy.proxy import deployment
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE: Any = MESSAGES
NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedProviders]:
    """The simulated providers."""
    with SimulatedProviders() as providers:
        yield providers


@pytest.fixture
def providers(server: SimulatedProviders) -> SimulatedProviders:
    """The simulated providers as they began."""
    server.control.reset()
    return server


def _callback(**rescue: Any) -> ExactoCallback:
    return ExactoCallback(Runtime(Settings.model_validate({"rescue": {"enabled": True, **rescue}})))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a callback with these ``rescue`` settings into LiteLLM, and takes it out again."""

    def install(**rescue: Any) -> ExactoCallback:
        callback = _callback(**rescue)
        install_patches(callback)
        assert callback.runtime.context.features.off == {}
        monkeypatch.setattr(litellm, "callbacks", [callback])
        return callback

    CURRENT.set(None)
    yield install
    router_patches.uninstall()
    CURRENT.set(None)


def _router(providers: SimulatedProviders, names: tuple[str, ...] = NAMES, *, ordered: bool = True) -> litellm.Router:
    """Deployments that are tried in this order, or in any."""
    places: list[dict[str, Any]] = [{"order": number} if ordered else {} for number in range(len(names))]
    entries = [deployment(providers, name, **place) for name, place in zip(names, places, strict=True)]
    return litellm.Router(model_list=entries, num_retries=0)


def _behave(providers: SimulatedProviders, *acts: Act | int) -> None:
    for name, act in zip(NAMES, acts, strict=False):
        providers.control.behave(name, always=act)


def _asked(providers: SimulatedProviders) -> list[int]:
    states = providers.control.states()
    return [states[name]["requests"] if name in states else 0 for name in NAMES]


@pytest.mark.parametrize(
    ("attempts", "acts", "asked", "answers"),
    [
        (1, (Act.INVALID_JSON, Act.INVALID_JSON, Act.VALID), [1, 1, 0], "one"),
        (2, (Act.INVALID_JSON, Act.INVALID_JSON, Act.VALID), [1, 1, 1], "three"),
        (2, (Act.INVALID_JSON, 500, Act.VALID), [1, 1, 1], "three"),
        (2, (Act.INVALID_JSON, Act.VALID, Act.VALID), [1, 1, 0], "two"),
        (5, (Act.INVALID_JSON, Act.UNKNOWN_NAME, Act.SCHEMA_MISMATCH), [1, 1, 1], "one"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_attempts(
    providers: SimulatedProviders,
    installed: Any,
    attempts: int,
    acts: tuple[Act | int, ...],
    asked: list[int],
    answers: str,
    stream: bool,
) -> None:
    """As many others as allowed are asked, each once, until one has a valid answer; without any the first stays."""
    callback = installed(max_attempts=attempts, streams=True)
    _behave(providers, *acts)
    router = _router(providers)
    given: Any = await router.acompletion("kimi", MESSAGE, tools=TOOLS, stream=stream)
    state = CURRENT.get()
    assert state is not None
    if stream:
        chunks = [chunk async for chunk in given]
        given = litellm.stream_chunk_builder(chunks=chunks)
    assert _asked(providers) == asked
    assert state.rescue is not None
    assert state.answered_by is not None
    assert state.answered_by.candidate.id == answers
    (call,) = given.choices[0].message.tool_calls
    assert _fits(call.function.arguments) == (answers != "one")
    assert not callback.faults.counts


def _fits(arguments: str) -> bool:
    try:
        return set(json.loads(arguments)) == {"city", "days"}
    except ValueError:
        return False


async def test_one_request_after_the_other(providers: SimulatedProviders, installed: Any) -> None:
    """A program that asks on in the same task starts anew each time."""
    installed()
    _behave(providers, Act.INVALID_JSON)
    router = _router(providers)
    for _ in range(3):
        answer: Any = await router.acompletion("kimi", MESSAGE, tools=TOOLS)
        assert _fits(answer.choices[0].message.tool_calls[0].function.arguments)
        state = CURRENT.get()
        assert state is not None
        assert [attempt.candidate.id for attempt in state.attempts] == ["one", "two"]


async def test_off_by_default(providers: SimulatedProviders, installed: Any) -> None:
    """Nobody pays for a second answer who did not say so."""
    installed(enabled=False)
    _behave(providers, Act.INVALID_JSON)
    answer: Any = await _router(providers).acompletion("kimi", MESSAGE, tools=TOOLS)
    assert not _fits(answer.choices[0].message.tool_calls[0].function.arguments)
    assert _asked(providers) == [1, 0, 0]


async def test_nobody_left(providers: SimulatedProviders, installed: Any) -> None:
    """With a single deployment the bad answer is delivered, and nothing is asked twice."""
    installed(max_attempts=3)
    _behave(providers, Act.INVALID_JSON)
    answer: Any = await _router(providers, ("one",)).acompletion("kimi", MESSAGE, tools=TOOLS)
    assert answer.choices[0].message.tool_calls
    assert _asked(providers) == [1, 0, 0]


async def test_after_a_failed_attempt(providers: SimulatedProviders, installed: Any) -> None:
    """Retries and rescue together ask nobody twice, and a cooldown comes from the client's own attempt only."""
    installed()
    _behave(providers, 429, Act.INVALID_JSON, Act.VALID)
    router = _router(providers)
    answer: Any = await router.acompletion("kimi", MESSAGE, tools=TOOLS, num_retries=1)
    assert _fits(answer.choices[0].message.tool_calls[0].function.arguments)
    assert _asked(providers) == [1, 1, 1]
    cooling = await router.cooldown_cache.async_get_active_cooldowns(list(NAMES), parent_otel_span=None)
    assert [name for name, _ in cooling] == ["one"]


async def test_a_bad_answer_does_not_stay_in_the_cache(
    providers: SimulatedProviders, installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second ask is not answered from the cache, and the next request gets the good answer from there."""
    installed()
    monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))  # type: ignore[arg-type]
    _behave(providers, Act.INVALID_JSON)
    router = _router(providers)
    router.cache_responses = True
    for _ in range(2):
        answer: Any = await router.acompletion("kimi", MESSAGE, tools=TOOLS, caching=True)
        assert _fits(answer.choices[0].message.tool_calls[0].function.arguments)
    assert _asked(providers) == [1, 1, 0]


@pytest.mark.parametrize("others", [Act.INVALID_JSON, Act.VALID], ids=["in vain", "rescued"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_the_conversation_stays_where_it_was(
    providers: SimulatedProviders, installed: Any, stream: bool, others: Act
) -> None:
    """Whatever rescue asks and finds elsewhere, the next turn begins at the conversation's own, verified deployment."""
    callback = installed(max_attempts=2, streams=True)
    router = _router(providers, ordered=False)
    say_good(callback.runtime, "kimi", NAMES)
    first: list[str] = []
    for turn in range(4):
        answer: Any = await router.acompletion(
            "kimi", [*MESSAGE, *MESSAGE * turn], tools=TOOLS, stream=stream, extra_body={"session_id": "s"}
        )
        if stream:
            async for _ in answer:
                pass
        state = CURRENT.get()
        assert state is not None
        first.append(state.attempts[0].candidate.id)
        assert len(state.attempts) == (1 if turn == 0 else 3 if others is Act.INVALID_JSON else 2)
        for name in NAMES:  # from the second turn on
            providers.control.behave(name, always=Act.INVALID_JSON if name == first[0] else others)
    assert set(first) == {first[0]}
