"""Providers that fail: clients see what bare LiteLLM gives or another one's answer, and each attempt counts once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import Probe, api, eventually, judged
from tests.support.proxy.proxy import CALLBACK, Proxy, deployment
from tests.support.proxy.questions import ask

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy


class Failure(NamedTuple):
    """One way to fail."""

    name: str
    behaviour: Act | int
    error_type: str
    modes: tuple[bool, ...] = (False, True)
    """Not streamed, streamed."""


FAILURES = (
    Failure("500", 500, "server_error"),
    Failure("429", 429, "rate_limit"),
    Failure("404", 404, "not_found"),
    Failure("401", 401, "authentication"),
    Failure("400", 400, "bad_request"),
    Failure("hang", Act.HANG, "timeout"),
    Failure("stall", Act.STALL, "timeout", (True,)),
    Failure("drop", Act.DROP, "server_error", (False,)),
    Failure("drop", Act.DROP, "broken_stream", (True,)),
    Failure("error_first", Act.ERROR_FIRST, "server_error", (False,)),
    Failure("error_first", Act.ERROR_FIRST, "broken_stream", (True,)),
    Failure("stop", Act.STOP_AFTER_NAME, "server_error", (False,)),
)
CASES = [(failure, stream) for failure in FAILURES for stream in failure.modes]
IDS = [f"{failure.name}-{'streamed' if stream else 'whole'}" for failure, stream in CASES]
TIMEOUT_S = 1.5
"""Of every attempt, also of those that must be answered in time."""
_TOOK = re.compile(r"time taken=[0-9.]+ seconds")


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """The probe inside the proxy with the plugin."""
    return Probe(tmp_path_factory.mktemp("probe"))


def _config(providers: SimulatedProviders) -> dict[str, Any]:
    """For each case a model group that has nothing else, and one with a deployment that works behind it."""
    times: dict[str, Any] = {"timeout": TIMEOUT_S, "stream_timeout": TIMEOUT_S}
    alone = [deployment(providers, f"alone-{case}", f"alone-{case}", **times) for case in IDS]
    pairs = [
        deployment(providers, f"{role}-{case}", f"pair-{case}", order=level, **times)
        for case in IDS
        for level, role in ((1, "bad"), (2, "good"))
    ]
    chain = [deployment(providers, f"chain-{level}", "chain", order=level, **times) for level in (1, 2, 3)]
    return {
        "model_list": [*alone, *pairs, *chain],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, probe: Probe) -> Proxy:
    """With the plugin."""
    ours = {
        "litellm_settings": {"callbacks": [CALLBACK]},
        "exacto_settings": {"tiers": {"preset": "openrouter", "recompute_interval_s": 0.2}},
    }
    return start_proxy({**_config(provider_server), **ours}, environment=probe.environment)


@pytest.fixture(scope="module")
def bare(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """The same without it."""
    return start_proxy(_config(provider_server))


def _seen(proxy: Proxy, model: str, *, stream: bool, **more: Any) -> Any:
    """What a client sees: the error's kind and body, or how the answer ends."""
    try:
        answer = ask(proxy.client(), model, stream=stream, **more)
    except openai.APIError as error:
        return type(error).__name__, getattr(error, "status_code", None), _TOOK.sub("", error.message)
    return [chunk.choices[0].finish_reason for chunk in answer if chunk.choices][-1]


def _attempts(probe: Probe, group: str) -> dict[str, float]:
    return probe.metric("exacto_deployment_attempts_total", "error_type", exacto_model_group=group)


@pytest.mark.parametrize(("failure", "stream"), CASES, ids=IDS)
def test_a_failure_without_way_out_is_litellms_own(
    proxy: Proxy, bare: Proxy, providers: SimulatedProviders, probe: Probe, failure: Failure, stream: bool
) -> None:
    """With nothing else to try the client gets the very error that bare LiteLLM gives; the attempt counts once."""
    group = f"alone-{failure.name}-{'streamed' if stream else 'whole'}"
    # At a pace, so that a stream that breaks off has been read up to there.
    providers.control.behave(group, always=failure.behaviour, tokens_per_s=100)
    expected = _seen(bare, group, stream=stream)
    assert _seen(proxy, group, stream=stream) == expected
    eventually(lambda: _attempts(probe, group), {failure.error_type: 1})
    assert providers.control.requests(group) == 2


@pytest.mark.parametrize(("failure", "stream"), CASES, ids=IDS)
def test_a_retry_goes_elsewhere(
    proxy: Proxy, providers: SimulatedProviders, probe: Probe, failure: Failure, stream: bool
) -> None:
    """With one retry another deployment answers, unless a part was sent already; both attempts count once each."""
    case = f"{failure.name}-{'streamed' if stream else 'whole'}"
    # At a pace, so that a part of a stream that breaks off has been sent by then.
    providers.control.behave(f"bad-{case}", always=failure.behaviour, tokens_per_s=100)
    seen = _seen(proxy, f"pair-{case}", stream=stream, extra_body={"num_retries": 1})
    if stream and failure.behaviour in (Act.STALL, Act.DROP):
        assert seen != "tool_calls"
        eventually(lambda: _attempts(probe, f"pair-{case}"), {failure.error_type: 1})
        return
    assert seen == "tool_calls"
    eventually(lambda: _attempts(probe, f"pair-{case}"), {failure.error_type: 1, "": 1})
    assert providers.control.requests(f"bad-{case}") == 1
    eventually(lambda: judged(proxy, f"pair-{case}", f"good-{case}"), (1, 0))
    assert judged(proxy, f"pair-{case}", f"bad-{case}") == (0, 0)


@pytest.mark.parametrize(
    ("acts", "answered"),
    [
        ((500, Act.STALL), 0),
        ((Act.ERROR_FIRST, Act.ERROR_FIRST), 1),
        ((500, Act.ERROR_FIRST), 1),
        ((Act.ERROR_FIRST, 500), 1),
    ],
    ids=str,
)
def test_every_attempt_of_a_stream_counts_once(
    proxy: Proxy, providers: SimulatedProviders, probe: Probe, acts: tuple[Act | int, ...], answered: int
) -> None:
    """However the attempts of one streamed request fail, as many are counted as were made, and no deployment twice."""
    before = _attempts(probe, "chain")
    for number, act in enumerate(acts, 1):
        providers.control.behave(f"chain-{number}", always=act)
    seen = _seen(proxy, "chain", stream=True, extra_body={"num_retries": 1})
    assert (seen == "tool_calls") is bool(answered)
    made = sum(providers.control.requests(f"chain-{number}") for number in (1, 2, 3))

    def counted() -> tuple[float, float]:
        after = _attempts(probe, "chain")
        return sum(after.values()) - sum(before.values()), after.get("", 0) - before.get("", 0)

    eventually(counted, (made, answered))


def test_nothing_failed_on_the_way(proxy: Proxy, probe: Probe) -> None:
    """After all of the above not one fault of our own was counted. The last test of this module."""
    assert api(proxy, "status").json()["faults"] == {}
    assert probe.warnings() == []
