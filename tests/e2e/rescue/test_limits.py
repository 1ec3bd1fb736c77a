"""Rescue through a real proxy: what it may cost, in money, in requests and tokens, in time, and in cooldowns."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import Probe, eventually, judged
from tests.support.proxy.openai_client import ask, asked
from tests.support.proxy.proxy import MASTER_KEY, Proxy
from tests.support.proxy.questions import MESSAGES, TOOLS
from tests.support.proxy.rescue_groups import BAD, behave, rescued

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.demo.provider import SimulatedProviders

TOKENS = 600
"""Of each answer in the test of token limits, prompt and completion together."""


def _spent(spending: Path, prefix: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in spending.read_text().splitlines()]
    return [line for line in lines if str(line["deployment"]).startswith(prefix)]


def test_a_failed_rescue_cools_nobody_down(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A 429 puts a deployment into cooldown at once; that of a second ask does not: it can rescue the next time."""
    for status in (429, 401, 404, 500, 500, 500, 500, 500):
        behave(providers, "cooled", Act.INVALID_JSON, status)
        assert rescued(ask(proxy, "cooled")) is None
    behave(providers, "cooled", Act.INVALID_JSON)
    assert rescued(ask(proxy, "cooled")) == "cooled-1"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_nobody_waits_longer_than_max_extra_seconds(
    proxy: Proxy, providers: SimulatedProviders, probe: Probe, stream: bool
) -> None:
    """A second ask that never ends is given up: the first answer comes well before the provider's own timeout."""
    behave(providers, "slow", Act.INVALID_JSON, Act.HANG)
    label = {"exacto_model_group": "slow", "exacto_rescue_outcome": "too_late"}
    before = probe.metric("exacto_rescues_total", **label).get("", 0)
    counted = probe.metric("exacto_requests_total", exacto_request_outcome="invalid_json").get("", 0)
    reply = ask(proxy, "slow", stream=stream)
    assert "{" in reply.arguments
    assert rescued(reply) is None
    eventually(lambda: probe.metric("exacto_rescues_total", **label).get("", 0), before + 1)
    wanted = {"name": "exacto_requests_total", "exacto_request_outcome": "invalid_json"}
    eventually(lambda: probe.metric(**wanted).get("", 0), counted + 1)


def test_both_answers_are_scored_counted_and_paid(
    proxy: Proxy, providers: SimulatedProviders, probe: Probe, spending: Path
) -> None:
    """Each answer against its own deployment, each with its own cost under the same key; the request counts once."""
    proxy.set_keys({"sk-counted": {"models": ["counted"], "key_alias": "counted"}})
    before = probe.metric("exacto_requests_total", "exacto_request_outcome")
    behave(providers, "counted", Act.INVALID_JSON, prompt_tokens=100, completion_tokens=50)
    assert rescued(ask(proxy, "counted", key="sk-counted")) == "counted-1"
    ask(proxy, "counted", key="sk-counted", stream=True)

    eventually(lambda: (judged(proxy, "counted", "counted-1"), judged(proxy, "counted", "counted-2")), ((2, 2), (2, 0)))
    eventually(lambda: len(_spent(spending, "counted-")), 4)
    paid = _spent(spending, "counted-")
    assert sorted(line["deployment"] for line in paid) == ["counted-1", "counted-1", "counted-2", "counted-2"]
    assert {line["cost"] for line in paid} == {150e-6}
    assert len({line["call"] for line in paid}) == 4
    assert len({line["key"] for line in paid}) == 1
    assert paid[0]["key"]

    def since_then() -> dict[str, float]:
        after = probe.metric("exacto_requests_total", "exacto_request_outcome")
        return {
            outcome: count - before.get(outcome, 0) for outcome, count in after.items() if count != before.get(outcome)
        }

    eventually(since_then, {"valid": 2})
    label = {"exacto_model_group": "counted", "exacto_rescue_outcome": "rescued"}
    eventually(lambda: probe.metric("exacto_rescues_total", **label), {"": 2})
    cost = {"name": "exacto_rescue_cost_USD_total", "exacto_model_group": "counted"}
    eventually(lambda: probe.metric(**cost), {"": pytest.approx(300e-6)})


def test_request_limits_count_both_asks(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A rescued request uses two of a key's requests per minute; with one left, the first answer stays."""
    behave(providers, "limited", Act.INVALID_JSON)
    proxy.set_keys({name: {"models": ["limited"], "rpm_limit": n} for name, n in (("sk-three", 3), ("sk-two", 2))})
    assert rescued(ask(proxy, "limited", key="sk-two")) == "limited-1"
    with pytest.raises(openai.RateLimitError):
        ask(proxy, "limited", key="sk-two")
    assert rescued(ask(proxy, "limited", key="sk-three")) == "limited-1"
    assert rescued(ask(proxy, "limited", key="sk-three")) is None
    assert asked(providers, ("limited-1", "limited-2")) == {"limited-1": 3, "limited-2": 2}


def test_token_limits_count_both_answers(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Two answers of 600 tokens exceed a limit of 1,000 tokens per minute that one of them does not.

    Neither ends at `max_tokens`, where a broken call would be truncated.
    """
    for name in ("tokens-1", "tokens-2"):
        providers.control.behave(name, prompt_tokens=TOKENS - 99, completion_tokens=99)
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
    behave(providers, "left", Act.INVALID_JSON, Act.HANG)
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    body = {"model": "left", "messages": MESSAGES, "tools": TOOLS}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{proxy.base_url}/v1/chat/completions", json=body, headers=headers, timeout=0.7, trust_env=False)
    eventually(lambda: judged(proxy, "left", "left-1"), (1, 1))
    eventually(lambda: asked(providers, ("left-1", "left-2")), {"left-1": 1, "left-2": 1})
    behave(providers, "left", Act.INVALID_JSON)
    assert rescued(ask(proxy, "left")) == "left-1"
    eventually(lambda: [judged(proxy, "left", name) for name in ("left-1", "left-2")], [(2, 2), (1, 0)])


def test_budgets_count_both_answers(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Two answers exceed a key's budget that one of them does not; LiteLLM keeps what was spent in memory."""
    for name in ("budget-1", "budget-2"):
        providers.control.behave(name, prompt_tokens=TOKENS - 99, completion_tokens=99)
    keys = ("sk-budget-rescued", "sk-budget-alone")
    proxy.set_keys({key: {"models": ["budget"], "max_budget": 1.5 * TOKENS * 1e-6} for key in keys})
    providers.control.behave("budget-1", next=[Act.INVALID_JSON, Act.VALID])
    for key in keys:
        ask(proxy, "budget", key=key, max_tokens=100)
    assert asked(providers, ("budget-1", "budget-2")) == {"budget-1": 2, "budget-2": 1}
    providers.control.behave("budget-1", prompt_tokens=1, completion_tokens=1)

    def again(key: str) -> bool:
        try:
            ask(proxy, "budget", key=key, max_tokens=100)
        except openai.APIStatusError:
            return False
        return True

    eventually(lambda: again("sk-budget-rescued"), False)
    assert again("sk-budget-alone")
