"""Rescue through a real proxy: what triggers it, what does not, what it may cost, and what the client sees of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.e2e.asking import MESSAGES, TOOLS
from tests.e2e.client import Reply, ask, asked, post
from tests.e2e.observed import Probe, eventually, judged
from tests.e2e.proxy import CALLBACK, MASTER_KEY, Proxy, deployment
from tests.e2e.spending import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

GROUPS = (
    "whole", "streamed", "responses", "messages", "vain", "left", "cooled", "slow", "counted", "limited", "tokens",
    "off", "observed", "pinned", "crowd", "untouched", "broken", "said",
)  # fmt: skip
BAD = (Act.INVALID_JSON, Act.UNKNOWN_NAME, Act.SCHEMA_MISMATCH, Act.MISSING_CALL)
PRICES: dict[str, Any] = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
EXTRA_S = 2
"""The proxy's ``max_extra_seconds``."""
TOKENS = 600
"""Of each answer in the test of token limits, prompt and completion together."""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """The probe inside the proxy of this module."""
    return Probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def spending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the proxy writes what answers cost."""
    file = tmp_path_factory.mktemp("spending") / "spending.jsonl"
    file.touch()
    return file


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, probe: Probe, spending: Path) -> Proxy:
    """Two deployments in each group: the operator's ``order`` says who is asked first and who may rescue."""
    ordered = [
        deployment(provider_server, f"{group}-{level}", group, order=level, **PRICES)
        for group in GROUPS
        for level in (1, 2)
    ]
    priced = [
        deployment(provider_server, f"priced-{level}", "priced", input_cost_per_token=level * 1e-6,
                   output_cost_per_token=level * 1e-6)
        for level in (1, 2, 3)
    ]  # fmt: skip
    listed = [deployment(provider_server, f"listed-{level}", "listed") for level in (1, 2)]
    config = {
        "model_list": [*ordered, *priced, *listed],
        "router_settings": {"num_retries": 0},
        "litellm_settings": {"callbacks": [CALLBACK, "tests.e2e.spending.recorder"]},
        "exacto_settings": {
            "rescue": {"enabled": True, "streams": True, "max_extra_seconds": EXTRA_S},
            "tiers": {"recompute_interval_s": 0.5},
            "exploration": {"share": 0},
            "curated": {"listed": ["listed-1"]},
            "model_groups": {"off": {"mode": "off"}, "observed": {"mode": "observe"}},
        },
    }
    return start_proxy(config, keys={}, environment={**probe.environment, FILE: str(spending)})


def _behave(providers: SimulatedProviders, group: str, first: Any, second: Any = Act.VALID, **more: Any) -> None:
    for level, act in ((1, first), (2, second)):
        providers.control.behave(f"{group}-{level}", always=act, **more)


def _rescued(reply: Reply) -> str | None:
    return reply.headers.get("x-exacto-rescued")


def _spent(spending: Path, prefix: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in spending.read_text().splitlines()]
    return [line for line in lines if str(line["deployment"]).startswith(prefix)]


@pytest.mark.parametrize("act", BAD)
def test_whole_answers_are_rescued(proxy: Proxy, providers: SimulatedProviders, act: Act) -> None:
    """Every kind of bad call goes to the other deployment, and all headers name who really answered."""
    _behave(providers, "whole", act)
    reply = ask(proxy, "whole")
    assert json.loads(reply.arguments).keys() == {"city", "days"}
    assert (_rescued(reply), reply.deployment, reply.headers["x-litellm-model-id"]) == ("whole-1", "whole-2", "whole-2")
    assert reply.headers["x-exacto-provider"] == "127.0.0.1:" + provider_port(providers)
    assert reply.headers["x-exacto-tier"] == "insufficient_data"
    assert reply.headers["x-exacto-rescue-attempts"] == "1"
    assert float(reply.headers["x-exacto-rescue-cost"]) > 0
    assert asked(providers, ("whole-1", "whole-2")) == {"whole-1": 1, "whole-2": 1}


def provider_port(providers: SimulatedProviders) -> str:
    """The port of the simulated providers, which is all that tells who serves."""
    return str(providers.port)


@pytest.mark.parametrize("act", BAD)
def test_streams_are_rescued(proxy: Proxy, providers: SimulatedProviders, act: Act) -> None:
    """The client's stream carries the good call only, in one stream with one id, and names nobody in its headers."""
    _behave(providers, "streamed", act)
    create: Any = proxy.client().chat.completions.create
    chunks = list(create(model="streamed", messages=MESSAGES, tools=TOOLS, stream=True,
                         stream_options={"include_usage": True}))  # fmt: skip
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert json.loads("".join(call.function.arguments or "" for call in calls)).keys() == {"city", "days"}
    assert [call.function.name for call in calls if call.function.name] == ["get_weather"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason] == ["tool_calls"]
    assert [chunk.usage.total_tokens > 0 for chunk in chunks if chunk.usage] == [True]
    assert ask(proxy, "streamed", stream=True).deployment is None
    assert asked(providers, ("streamed-1", "streamed-2")) == {"streamed-1": 2, "streamed-2": 2}


@pytest.mark.parametrize("act", [Act.VALID, Act.TEXT, Act.DUPLICATE_IDS, Act.TRUNCATED])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_nothing_else_triggers_it(proxy: Proxy, providers: SimulatedProviders, act: Act, stream: bool) -> None:
    """Good calls, no call and an answer cut short stay as they are: the other deployment is not asked."""
    _behave(providers, "untouched", act)
    reply = ask(proxy, "untouched", stream=stream)
    assert _rescued(reply) is None
    assert asked(providers, ("untouched-1", "untouched-2")) == {"untouched-1": 1, "untouched-2": 0}


def test_a_stream_that_is_held_back_is_not_changed(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Two good calls come as they were sent, piece by piece, with their ids."""
    _behave(providers, "said", Act.VALID, calls=2, completion_tokens=11)
    create: Any = proxy.client().chat.completions.create
    chunks = list(create(model="said", messages=MESSAGES, tools=TOOLS, stream=True,
                         stream_options={"include_usage": True}))  # fmt: skip
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert len({call.id for call in calls if call.id}) == 2
    assert {call.index for call in calls} == {0, 1}
    assert len(calls) > 4
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [11]


def test_a_broken_schema_triggers_nothing(proxy: Proxy, providers: SimulatedProviders) -> None:
    """What does not compile is the caller's fault, whatever the call looks like."""
    providers.control.behave("broken-1", arguments='{"city": 1}')
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "no such type"}}}]
    answer = post(proxy, "/v1/chat/completions", {"model": "broken", "messages": MESSAGES, "tools": tools})
    assert "x-exacto-rescued" not in answer.raise_for_status().headers
    assert asked(providers, ["broken-2"]) == {"broken-2": 0}


@pytest.mark.parametrize("group", ["off", "observed"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_mode_governs_it(proxy: Proxy, providers: SimulatedProviders, group: str, stream: bool) -> None:
    """Where tiers are not applied, answers are not replaced."""
    _behave(providers, group, Act.INVALID_JSON)
    assert "{" in ask(proxy, group, stream=stream).arguments
    assert asked(providers, [f"{group}-2"]) == {f"{group}-2": 0}


def test_a_pinned_deployment_is_not_replaced(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Who names a deployment gets its answer."""
    _behave(providers, "pinned", Act.INVALID_JSON)
    assert _rescued(ask(proxy, "pinned-1")) is None
    assert asked(providers, ["pinned-2"]) == {"pinned-2": 0}


def test_an_explicit_sort_is_followed(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The second ask goes to the next of the order that the client asked for."""
    for level in (1, 2, 3):
        providers.control.behave(f"priced-{level}", always=Act.INVALID_JSON if level == 1 else Act.VALID)
    for _ in range(3):
        assert ask(proxy, "priced:floor").deployment == "priced-2"
    assert asked(providers, ["priced-3"]) == {"priced-3": 0}


def test_an_explicit_list_is_followed(proxy: Proxy, providers: SimulatedProviders) -> None:
    """``order``: the next of the list; with ``allow_fallbacks: false`` nobody beyond whom the client allows."""
    for level in (1, 2, 3):
        providers.control.behave(f"priced-{level}", always=Act.INVALID_JSON if level == 3 else Act.VALID)
    reply = ask(proxy, "priced", provider={"order": ["priced-3", "priced-2"]})
    assert (_rescued(reply), reply.deployment) == ("priced-3", "priced-2")
    reply = ask(proxy, "priced", provider={"order": ["priced-3"], "allow_fallbacks": False})
    assert (_rescued(reply), reply.deployment) == (None, "priced-3")
    assert asked(providers, ["priced-1", "priced-2"]) == {"priced-1": 0, "priced-2": 1}


def test_a_curated_list_holds_for_the_second_ask(proxy: Proxy, providers: SimulatedProviders) -> None:
    """With nobody else on the list, the bad answer stays."""
    _behave(providers, "listed", Act.INVALID_JSON)
    reply = ask(proxy, "listed:exacto")
    assert (reply.deployment, _rescued(reply)) == ("listed-1", None)
    assert asked(providers, ["listed-2"]) == {"listed-2": 0}


@pytest.mark.parametrize("act", [Act.INVALID_JSON, Act.TRUNCATED, Act.MISSING_CALL, 500, 404, 400, Act.DROP])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_without_a_valid_answer_the_first_one_stays(
    proxy: Proxy, providers: SimulatedProviders, act: Any, stream: bool
) -> None:
    """A second answer that is bad, cut short or an error changes nothing about what the client gets."""
    _behave(providers, "vain", Act.VALID, act)
    providers.control.behave("vain-1", arguments='{"city": 1}')
    reply = ask(proxy, "vain", stream=stream)
    assert reply.arguments == '{"city": 1}'
    assert _rescued(reply) is None
    if not stream:
        assert (reply.deployment, reply.headers["x-litellm-model-id"]) == ("vain-1", "vain-1")
        assert reply.headers["x-exacto-rescue-attempts"] == "1"
    assert asked(providers, ["vain-2"]) == {"vain-2": 1}


def test_a_text_may_stand_in_but_not_for_a_demanded_call(proxy: Proxy, providers: SimulatedProviders) -> None:
    """An answer that says something instead is valid, unless ``tool_choice`` demands a call."""
    _behave(providers, "said", Act.INVALID_JSON, Act.TEXT)
    assert (_rescued(ask(proxy, "said")), _rescued(ask(proxy, "said", stream=True))) == ("said-1", None)
    assert _rescued(ask(proxy, "said", tool_choice="required")) is None
    assert asked(providers, ["said-2"]) == {"said-2": 3}


def test_a_failed_rescue_cools_nobody_down(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A 429 puts a deployment into cooldown at once; that of a second ask does not: it can rescue the next time."""
    for status in (429, 401, 404, 500, 500, 500, 500, 500):
        _behave(providers, "cooled", Act.INVALID_JSON, status)
        assert _rescued(ask(proxy, "cooled")) is None
    _behave(providers, "cooled", Act.INVALID_JSON)
    assert _rescued(ask(proxy, "cooled")) == "cooled-1"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_nobody_waits_longer_than_max_extra_seconds(
    proxy: Proxy, providers: SimulatedProviders, probe: Probe, stream: bool
) -> None:
    """A second ask that never ends is given up: the first answer comes well before the provider's own timeout."""
    _behave(providers, "slow", Act.INVALID_JSON, Act.HANG)
    label = {"exacto_model_group": "slow", "exacto_rescue_outcome": "too_late"}
    before = probe.metric("exacto_rescues_total", **label).get("", 0)
    reply = ask(proxy, "slow", stream=stream)
    assert "{" in reply.arguments
    assert _rescued(reply) is None
    assert probe.metric("exacto_rescues_total", **label).get("", 0) == before + 1


def test_both_answers_are_scored_counted_and_paid(
    proxy: Proxy, providers: SimulatedProviders, probe: Probe, spending: Path
) -> None:
    """Each answer against its own deployment, each with its own cost under the same key; the request counts once."""
    proxy.set_keys({"sk-counted": {"models": ["counted"], "key_alias": "counted"}})
    before = probe.metric("exacto_requests_total", "exacto_request_outcome")
    _behave(providers, "counted", Act.INVALID_JSON, prompt_tokens=100, completion_tokens=50)
    assert _rescued(ask(proxy, "counted", key="sk-counted")) == "counted-1"
    ask(proxy, "counted", key="sk-counted", stream=True)

    eventually(lambda: (judged(proxy, "counted", "counted-1"), judged(proxy, "counted", "counted-2")), ((2, 2), (2, 0)))
    eventually(lambda: len(_spent(spending, "counted-")), 4)
    paid = _spent(spending, "counted-")
    assert sorted(line["deployment"] for line in paid) == ["counted-1", "counted-1", "counted-2", "counted-2"]
    assert {line["cost"] for line in paid} == {150e-6}
    assert len({line["call"] for line in paid}) == 4
    assert len({line["key"] for line in paid}) == 1
    assert paid[0]["key"]
    after = probe.metric("exacto_requests_total", "exacto_request_outcome")
    assert {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)} == {"valid": 2}
    rescued = {"exacto_model_group": "counted", "exacto_rescue_outcome": "rescued"}
    assert probe.metric("exacto_rescues_total", **rescued) == {"": 2}
    assert probe.metric("exacto_rescue_cost_USD_total", exacto_model_group="counted")[""] == pytest.approx(300e-6)


def test_request_limits_count_both_asks(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A rescued request uses two of a key's requests per minute; with one left, the first answer stays."""
    _behave(providers, "limited", Act.INVALID_JSON)
    proxy.set_keys({name: {"models": ["limited"], "rpm_limit": n} for name, n in (("sk-three", 3), ("sk-two", 2))})
    assert _rescued(ask(proxy, "limited", key="sk-two")) == "limited-1"
    with pytest.raises(openai.RateLimitError):
        ask(proxy, "limited", key="sk-two")
    assert _rescued(ask(proxy, "limited", key="sk-three")) == "limited-1"
    assert _rescued(ask(proxy, "limited", key="sk-three")) is None
    assert asked(providers, ("limited-1", "limited-2")) == {"limited-1": 3, "limited-2": 2}


def test_token_limits_count_both_answers(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Two answers of 600 tokens exceed a limit of 1,000 tokens per minute that one of them does not."""
    for name in ("tokens-1", "tokens-2"):
        providers.control.behave(name, prompt_tokens=TOKENS - 100, completion_tokens=100)
    keys = ("sk-rescued", "sk-alone")
    proxy.set_keys({key: {"models": ["tokens"], "tpm_limit": 1000} for key in keys})
    providers.control.behave("tokens-1", next=[Act.INVALID_JSON, Act.VALID])
    for key in keys:
        ask(proxy, "tokens", key=key, max_tokens=100)
    assert asked(providers, ("tokens-1", "tokens-2")) == {"tokens-1": 2, "tokens-2": 1}

    def again(key: str) -> bool:
        try:
            ask(proxy, "tokens", key=key, max_tokens=100)
        except openai.RateLimitError:
            return False
        return True

    providers.control.behave("tokens-1", prompt_tokens=1, completion_tokens=1)
    eventually(lambda: again("sk-rescued"), False)
    assert again("sk-alone")


@pytest.mark.parametrize(
    ("group", "path", "body"),
    [
        (
            "responses",
            "/v1/responses",
            {"input": "Weather in Lisbon?", "tools": [{"type": "function", **TOOLS[0]["function"]}]},
        ),
        (
            "messages",
            "/v1/messages",
            {
                "max_tokens": 500,
                "messages": MESSAGES,
                "tools": [{"name": "get_weather", "input_schema": TOOLS[0]["function"]["parameters"]}],
            },
        ),
    ],
)
@pytest.mark.parametrize("act", BAD[:3])
def test_other_surfaces_are_rescued(
    proxy: Proxy, providers: SimulatedProviders, group: str, path: str, body: Mapping[str, Any], act: Act
) -> None:
    """Whole answers of the Responses and Messages APIs too."""
    _behave(providers, group, act)
    answer = post(proxy, path, {"model": group, **body}).raise_for_status()
    if group == "responses":
        (call,) = (item for item in answer.json()["output"] if item["type"] == "function_call")
        arguments = json.loads(call["arguments"])
    else:
        (call,) = (item for item in answer.json()["content"] if item["type"] == "tool_use")
        arguments = call["input"]
    assert (call["name"], set(arguments)) == ("get_weather", {"city", "days"})
    assert answer.headers["x-exacto-rescued"] == f"{group}-1"
    assert answer.headers["x-exacto-deployment"] == f"{group}-2"
    assert answer.headers["x-litellm-model-id"] == f"{group}-2"
    eventually(lambda: judged(proxy, group, f"{group}-1")[1] >= 1, True)


def test_many_at_once(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Requests side by side do not take each other's answers: each gets a good call, and the sums are right."""
    providers.control.behave("crowd-1", error_rate=0.5, seed=3, latency_s=0.02)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda number: ask(proxy, "crowd", stream=bool(number % 2)), range(40)))
    assert all(json.loads(reply.arguments).keys() == {"city", "days"} for reply in replies)
    acts = providers.control.acts("crowd-1")
    bad = sum(acts.get(act.value, 0) for act in BAD)
    assert 0 < bad < 40
    assert asked(providers, ("crowd-1", "crowd-2")) == {"crowd-1": 40, "crowd-2": bad}


def test_a_client_that_leaves_does_no_harm(proxy: Proxy, providers: SimulatedProviders) -> None:
    """The bad answer is scored as usual, nobody else is, and the next request is served."""
    _behave(providers, "left", Act.INVALID_JSON, Act.HANG)
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    body = {"model": "left", "messages": MESSAGES, "tools": TOOLS}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{proxy.base_url}/v1/chat/completions", json=body, headers=headers, timeout=0.7, trust_env=False)
    eventually(lambda: judged(proxy, "left", "left-1"), (1, 1))
    _behave(providers, "left", Act.INVALID_JSON)
    assert _rescued(ask(proxy, "left")) == "left-1"
    eventually(lambda: judged(proxy, "left", "left-1"), (2, 2))
    assert judged(proxy, "left", "left-2") == (1, 0)


@pytest.fixture(autouse=True)
def _no_faults(probe: Probe, proxy: Proxy) -> Iterator[None]:
    """Nothing of ours fails on the way."""
    yield
    assert probe.metric("exacto_plugin_errors_total") == {}
