"""Rescue of synchronous calls: ``Router.completion`` of an attached router, whole and streamed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.demo.behaviour import Act
from exacto_plugin.litellm_hooks.request.state import CURRENT
from tests.support.program_overrides import say_good
from tests.support.proxy.observation import eventually
from tests.support.proxy.proxy import deployment
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin import Exacto
    from exacto_plugin.demo.provider import SimulatedProviders

MESSAGE: Any = MESSAGES
NAMES = ("one", "two", "three")
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def attached(providers: SimulatedProviders, make_exacto: Callable[..., Exacto]) -> Callable[..., tuple[Exacto, Any]]:
    """Makes a router whose deployments are asked in their order, and the plugin with these ``rescue`` settings."""

    def attach(*, ordered: bool = True, **rescue: Any) -> tuple[Exacto, Any]:
        price: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
        places: list[dict[str, Any]] = [{"order": number} if ordered else {} for number in range(len(NAMES))]
        entries = [deployment(providers, name, **price, **place) for name, place in zip(NAMES, places, strict=True)]
        router = litellm.Router(model_list=entries, num_retries=0)
        exacto = make_exacto(rescue={"enabled": True, "streams": True, **rescue}, exploration={"share": 0})
        return exacto.attach(router), router

    return attach


def _behave(providers: SimulatedProviders, *acts: Act | int) -> None:
    for name, act in zip(NAMES, acts, strict=False):
        providers.control.behave(name, always=act)


def _asked(providers: SimulatedProviders) -> list[int]:
    states = providers.control.states()
    return [states[name]["requests"] if name in states else 0 for name in NAMES]


def _arguments(router: Any, *, stream: bool, **more: Any) -> str:
    """The arguments of the one call that the program gets."""
    answer: Any = router.completion("kimi", MESSAGE, tools=TOOLS, stream=stream, **more)
    if stream:
        answer = litellm.stream_chunk_builder(chunks=list(answer))
    (call,) = answer.choices[0].message.tool_calls
    return str(call.function.arguments)


def _fits(arguments: str) -> bool:
    try:
        return set(json.loads(arguments)) == {"city", "days"}
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("attempts", "acts", "asked", "answers"),
    [
        (1, (Act.INVALID_JSON, Act.VALID, Act.VALID), [1, 1, 0], "two"),
        (1, (Act.INVALID_JSON, Act.UNKNOWN_NAME, Act.VALID), [1, 1, 0], "one"),
        (2, (Act.INVALID_JSON, Act.INVALID_JSON, Act.VALID), [1, 1, 1], "three"),
        (2, (Act.SCHEMA_MISMATCH, 429, Act.VALID), [1, 1, 1], "three"),
        (1, (Act.VALID, Act.VALID, Act.VALID), [1, 0, 0], "one"),
    ],
)
@BOTH
def test_attempts(
    providers: SimulatedProviders, attached: Any, attempts: int, acts: Any, asked: list[int], answers: str, stream: bool
) -> None:
    """The program gets the first valid answer, else the first one; others cool nobody down, and each costs once."""
    exacto, router = attached(max_attempts=attempts)
    _behave(providers, *acts)
    assert _fits(_arguments(router, stream=stream)) == (answers != "one" or acts[0] is Act.VALID)
    assert _asked(providers) == asked
    state = CURRENT.get()
    assert state is not None
    assert state.answered_by is not None
    assert state.answered_by.candidate.id == answers
    if sum(asked) > 1:
        assert state.rescue is not None
        assert stream or (state.rescue.extra_cost or 0) > 0  # of a stream LiteLLM knows no usage unless it is asked for
    cooling = router.cooldown_cache.get_active_cooldowns(list(NAMES), parent_otel_span=None)
    assert cooling == []
    assert not exacto._runtime.context.faults.counts


@BOTH
def test_nobody_waits_for_what_never_ends(providers: SimulatedProviders, attached: Any, stream: bool) -> None:
    """A second ask that hangs is given up; the program gets the first answer and can go on."""
    _, router = attached(max_extra_seconds=1.5)  # the second ask below has as long
    _behave(providers, Act.INVALID_JSON, Act.HANG)
    assert not _fits(_arguments(router, stream=stream))
    state = CURRENT.get()
    assert state is not None
    assert [one.failure for one in state.attempts] == ["", "timeout"], "no answer of it was ever there"
    _behave(providers, Act.INVALID_JSON, Act.VALID)
    assert _fits(_arguments(router, stream=stream))


@BOTH
def test_a_demanded_call_that_does_not_come_is_asked_for_again(
    providers: SimulatedProviders, attached: Any, stream: bool
) -> None:
    """``tool_choice`` is known of synchronous calls too; a stream has sent its text by then, and stays."""
    _, router = attached()
    _behave(providers, Act.TEXT, Act.VALID)
    answer: Any = router.completion("kimi", MESSAGE, tools=TOOLS, tool_choice="required", stream=stream)
    for _ in answer if stream else ():
        pass
    assert _asked(providers) == [1, 0 if stream else 1, 0]


@BOTH
def test_requests_are_counted_once(
    providers: SimulatedProviders, attached: Any, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request counts by the answer that the program got, however many answers were scored."""
    exacto, router = attached()
    counted: Counter[str] = Counter()
    monkeypatch.setattr(exacto._runtime.context.telemetry, "request", lambda outcome: counted.update([outcome]))
    scored: list[Any] = []
    monkeypatch.setattr(exacto._runtime.samples, "record", lambda sample, _candidate: scored.append(sample.deployment))
    _behave(providers, Act.INVALID_JSON, Act.VALID)
    for round_ in range(1, 4):
        assert _fits(_arguments(router, stream=stream))
        eventually(lambda: len(scored), 2 * round_)
    eventually(lambda: dict(counted), {"valid": 3})


@BOTH
def test_the_conversation_stays(providers: SimulatedProviders, attached: Any, stream: bool) -> None:
    """Whatever rescue finds elsewhere, the next turn begins where the conversation was, at a verified deployment."""
    exacto, router = attached(ordered=False, max_attempts=2)
    say_good(exacto._runtime, "kimi", NAMES)
    first = []
    for _ in range(3):
        _arguments(router, stream=stream, extra_body={"session_id": "s"})
        state = CURRENT.get()
        assert state is not None
        first.append(state.attempts[0].candidate.id)
        _behave(providers, *[Act.INVALID_JSON] * 3)
    assert len(set(first)) == 1


@BOTH
def test_threads_and_loops(providers: SimulatedProviders, attached: Any, stream: bool) -> None:
    """Many threads at once, some of which run an event loop, each get a good call."""
    _, router = attached()
    _behave(providers, Act.INVALID_JSON, Act.VALID)

    def program(number: int) -> str:
        async def inside() -> str:
            return _arguments(router, stream=stream)

        return asyncio.run(inside()) if number % 2 else _arguments(router, stream=stream)

    with ThreadPoolExecutor(4) as pool:
        assert all(map(_fits, pool.map(program, range(12))))
    assert _asked(providers) == [12, 12, 0]


@BOTH
def test_no_key_of_the_plugin_is_sent(providers: SimulatedProviders, attached: Any, stream: bool) -> None:
    """The second ask is for the fallback's model group, without the suffixes and lists of its entry."""
    _, router = attached()
    _behave(providers, Act.INVALID_JSON, Act.VALID)
    providers.control.behave("down", always=500)
    params: Any = {"model": "openai/down", "api_base": providers.api_base("down"), "api_key": "sk-x"}
    router.add_deployment(litellm.Deployment("down", params, {"id": "down"}))
    entry = {"model": "kimi:floor", "provider": {"only": ["one", "two"]}}
    answer: Any = router.completion("down", MESSAGE, tools=TOOLS, stream=stream, fallbacks=[entry])
    for _ in answer if stream else ():
        pass
    assert _asked(providers) == [1, 1, 0]
    known = {"model", "messages", "tools", "stream"}
    assert [providers.control.seen(name)[0]["body"].keys() - known for name in NAMES[:2]] == [set(), set()]
