"""``failover.max_attempts`` through a real proxy: so many deployments and no more, after any error but the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.openai_client import ask, asked, config, prices
from tests.support.proxy.proxy import Proxy, deployment
from tests.support.proxy.questions import MESSAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

LIMIT = 3
FOUR = tuple(f"four-{number}" for number in range(4))
PAIR = ("pair-0", "pair-1")
LEVELS = ("first-0", "first-1", "later-0", "later-1")
SPARE = "spare"


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """Three attempts at most, where LiteLLM by itself would make one."""

    def entry(name: str, group: str, **params: Any) -> dict[str, Any]:
        return deployment(provider_server, name, group, **params)

    model_list = [
        *(entry(name, "four", **prices(rank, rank)) for rank, name in enumerate(FOUR, 1)),
        *(entry(name, "pair") for name in PAIR),
        *(entry(name, "levels", order=1 if name.startswith("first") else 2) for name in LEVELS),
        *(entry(f"backed-{number}", "backed") for number in range(4)),
        entry(SPARE, "spare"),
    ]
    router = {"num_retries": 0, "disable_cooldowns": True, "fallbacks": [{"backed": ["spare"]}]}
    return start_proxy(config(model_list, router=router, failover={"max_attempts": LIMIT}))


def _fail(providers: SimulatedProviders, names: Iterable[str], how: Act | int = 500) -> None:
    for name in names:
        providers.control.behave(name, always=how)


ERRORS: list[Act | int] = [500, 503, 429, 408, 404, 402, 401, 403]


@pytest.mark.parametrize(("stream", "tools"), [(False, True), (True, False)], ids=["whole-tools", "streamed-plain"])
@pytest.mark.parametrize("how", ERRORS, ids=str)
def test_exactly_so_many(
    proxy: Proxy, providers: SimulatedProviders, how: Act | int, stream: bool, tools: bool
) -> None:
    """Three different deployments are asked, with tools and without; the client gets the last one's error."""
    _fail(providers, FOUR, how)
    with pytest.raises(openai.APIStatusError) as raised:
        ask(proxy, "four", stream=stream, tools=tools)
    counts = asked(providers, FOUR)
    assert (sum(counts.values()), max(counts.values())) == (LIMIT, 1)
    assert raised.value.status_code == how
    _fail(providers, FOUR[:2], how)
    _fail(providers, FOUR[2:], Act.VALID)
    assert ask(proxy, "four:floor", stream=stream, tools=tools).deployment == FOUR[2]


def test_the_callers_fault_never_walks(proxy: Proxy, providers: SimulatedProviders) -> None:
    """After a 400 nobody else of the model is asked, on no level; fallbacks to other models still are."""
    _fail(providers, [*FOUR, *LEVELS], 400)
    for names in (FOUR, LEVELS):
        for stream in (False, True):
            with pytest.raises(openai.BadRequestError):
                ask(proxy, names[0].partition("-")[0].replace("first", "levels"), stream=stream)
        assert sum(asked(providers, names).values()) == 2
    assert ask(proxy, "four", fallbacks=["spare"]).arguments


def test_errors_before_the_first_chunk(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A stream that begins with an error goes elsewhere; the headers name who answered."""
    _fail(providers, FOUR[:2], Act.ERROR_FIRST)
    reply = ask(proxy, "four:floor", stream=True)
    assert reply.deployment == FOUR[2]
    assert reply.models == {"four:floor"}
    assert reply.arguments
    assert asked(providers, FOUR) == {FOUR[0]: 1, FOUR[1]: 1, FOUR[2]: 1, FOUR[3]: 0}
    _fail(providers, FOUR, Act.ERROR_FIRST)
    with pytest.raises(openai.APIError, match="before the first chunk"):
        ask(proxy, "four", stream=True)
    assert sum(asked(providers, FOUR).values()) == 3 + LIMIT


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_time_outs(proxy: Proxy, providers: SimulatedProviders, stream: bool) -> None:
    """A deployment that never answers is left for another one."""
    _fail(providers, FOUR[:1], Act.HANG)
    assert ask(proxy, "four:floor", stream=stream, timeout=2).deployment == FOUR[1]


def test_a_broken_stream_stays_broken(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Once a call has begun to arrive, nothing is sent a second time."""
    for name in FOUR:  # at a pace, so that something has been read when the connection breaks
        providers.control.behave(name, always=Act.DROP, tokens_per_s=100)
    with pytest.raises((openai.APIError, OSError)):
        ask(proxy, "four:floor", stream=True)
    assert sum(asked(providers, FOUR).values()) == 1


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (9, LIMIT)])
def test_a_request_may_ask_for_less(proxy: Proxy, providers: SimulatedProviders, retries: int, attempts: int) -> None:
    """``num_retries`` of a request is kept up to the limit."""
    _fail(providers, FOUR)
    with pytest.raises(openai.InternalServerError):
        ask(proxy, "four", num_retries=retries)
    assert sum(asked(providers, FOUR).values()) == attempts


@pytest.mark.parametrize("how", [500, 404], ids=str)
def test_nobody_is_asked_twice(proxy: Proxy, providers: SimulatedProviders, how: int) -> None:
    """With fewer deployments than attempts each is asked once."""
    _fail(providers, PAIR, how)
    with pytest.raises(openai.APIStatusError) as raised:
        ask(proxy, "pair")
    assert raised.value.status_code == how
    assert asked(providers, PAIR) == dict.fromkeys(PAIR, 1)


@pytest.mark.parametrize("how", [500, 404], ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_operator_levels_count_too(proxy: Proxy, providers: SimulatedProviders, how: int, stream: bool) -> None:
    """The operator's first level is asked first; LiteLLM's own walk over levels adds nothing to the limit."""
    _fail(providers, LEVELS, how)
    with pytest.raises(openai.APIStatusError) as raised:
        ask(proxy, "levels", stream=stream)
    assert raised.value.status_code == how
    counts = asked(providers, LEVELS)
    assert (counts["first-0"], counts["first-1"]) == (1, 1)
    assert (sum(counts.values()), max(counts.values())) == (LIMIT, 1)


@pytest.mark.parametrize("how", [500, 404, Act.ERROR_FIRST], ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_fallbacks_come_afterwards(proxy: Proxy, providers: SimulatedProviders, how: Act | int, stream: bool) -> None:
    """Configured fallbacks and those of the request are still walked once a model's attempts are used up."""
    backed = [f"backed-{number}" for number in range(4)]
    _fail(providers, backed, how)
    assert ask(proxy, "backed", stream=stream).arguments
    assert (sum(asked(providers, backed).values()), asked(providers, [SPARE])) == (LIMIT, {SPARE: 1})
    _fail(providers, FOUR, how)
    assert ask(proxy, "four", stream=stream, models=["spare"]).arguments
    assert (sum(asked(providers, FOUR).values()), asked(providers, [SPARE])) == (LIMIT, {SPARE: 2})


SURFACES: dict[str, Callable[[Proxy], Any]] = {
    "text": lambda proxy: proxy.client().completions.create(model="four", prompt="hello"),
    "embeddings": lambda proxy: proxy.client().embeddings.create(model="four", input="hello"),
    "responses": lambda proxy: proxy.client().responses.create(model="four", input="hello"),
    "messages": lambda proxy: _message(proxy),
}


def _message(proxy: Proxy) -> None:
    with proxy.anthropic() as client:
        client.messages.create(model="four", max_tokens=9, messages=MESSAGES)


@pytest.mark.parametrize("how", [500, 404, 402], ids=str)
@pytest.mark.parametrize("surface", SURFACES)
def test_other_surfaces(proxy: Proxy, providers: SimulatedProviders, surface: str, how: int) -> None:
    """The limit holds on every surface."""
    _fail(providers, FOUR, how)
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as raised:
        SURFACES[surface](proxy)
    error: Any = raised.value
    assert error.status_code == how
    # For embeddings LiteLLM's HTTP client sends a request that fails with 500 three times within one attempt.
    hits = 3 if (surface, how) == ("embeddings", 500) else 1
    assert sorted(asked(providers, FOUR).values()) == [0, *[hits] * LIMIT]


def test_a_pinned_deployment_stays_alone(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Who names one deployment gets no other, and LiteLLM's own number of attempts."""
    _fail(providers, FOUR, 404)
    with pytest.raises(openai.NotFoundError):
        ask(proxy, FOUR[3])
    assert asked(providers, FOUR) == {FOUR[0]: 0, FOUR[1]: 0, FOUR[2]: 0, FOUR[3]: 1}
