"""How simulated providers are told what to do, and tell what they were asked."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest

from exacto_plugin.demo.behaviour import Act, Behaviour
from exacto_plugin.demo.k2vv import table
from tests.support.provider_questions import (
    MESSAGES,
    TOOLS,
    ask_calls,
    ask_whole,
    both_ways,
    verdict,
)

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders


def test_rates_are_met(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Error rate, kinds and propensity come out as they were set; what was served is counted as it was served."""
    providers.control.behave("p", error_rate=0.5, error_mix={"unknown_name": 3, "invalid_json": 1}, propensity=0.5)
    found: Counter[Act] = Counter()
    for _ in range(200):
        calls, _, _ = ask_calls(client, stream=False)
        found[verdict(*calls[0][1:]) if calls else Act.TEXT] += 1
    assert {act.value: count for act, count in found.items()} == providers.control.acts("p")
    assert 75 <= found[Act.TEXT] <= 125
    assert 25 <= found[Act.UNKNOWN_NAME] + found[Act.INVALID_JSON] <= 75
    assert found[Act.UNKNOWN_NAME] > found[Act.INVALID_JSON] > 0
    assert found[Act.SCHEMA_MISMATCH] == 0


def test_failures_have_a_rate_too(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """A share of the requests fails with the status that was set."""
    providers.control.behave("p", failure_rate=0.3, failure_status=503)
    outcomes: Counter[int] = Counter()
    for _ in range(100):
        try:
            ask_whole(client)
            outcomes[200] += 1
        except openai.InternalServerError as error:
            outcomes[error.status_code] += 1
    assert outcomes[200] + outcomes[503] == 100
    assert 15 <= outcomes[503] <= 45


def test_the_same_traffic_gets_the_same_answers(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Everything that is drawn follows from the seed, the name and the number of the request."""

    def run(seed: int) -> list[tuple[str, str]]:
        providers.control.reset("p")
        providers.control.behave("p", seed=seed, error_rate=0.5)
        return [ask_calls(client, stream=False)[0][0][1:] for _ in range(20)]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_script_is_played_once_and_in_order(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Each request takes one entry; then the other rules hold again."""
    providers.control.behave("p", always="text", next=["valid", "invalid_json"])
    kinds = []
    for _ in range(4):
        calls, _, _ = ask_calls(client, stream=False)
        kinds.append(verdict(*calls[0][1:]) if calls else Act.TEXT)
    assert kinds == [Act.VALID, Act.INVALID_JSON, Act.TEXT, Act.TEXT]
    assert providers.control.state("p")["script_left"] == 0


def test_a_change_keeps_what_it_does_not_name(providers: SimulatedProviders) -> None:
    """POST changes the named fields, PUT replaces everything, reset brings back the beginning."""
    control = providers.control
    control.behave("bad", latency_s=0.5)
    behaviour = control.state("bad")["behaviour"]
    assert (behaviour["error_rate"], behaviour["latency_s"]) == (1.0, 0.5)
    control.replace("bad", Behaviour(propensity=0.25))
    behaviour = control.state("bad")["behaviour"]
    assert (behaviour["error_rate"], behaviour["propensity"]) == (0.0, 0.25)
    control.reset("bad")
    assert control.state("bad")["behaviour"]["error_rate"] == 1.0


@pytest.mark.parametrize("fields", [{"error_rat": 1}, {"error_rate": 2}, {"next": ["explode"]}, {"always": 200}])
def test_a_malformed_behaviour_is_refused(providers: SimulatedProviders, fields: dict[str, Any]) -> None:
    """A typing error in a test is told, and changes nothing."""
    before = providers.control.state("p")
    with pytest.raises(ValueError, match=next(iter(fields))):
        providers.control.behave("p", **fields)
    assert providers.control.state("p") == before


def test_what_was_asked_can_be_read(providers: SimulatedProviders, client: openai.OpenAI) -> None:
    """Path, headers and body of the latest requests are kept, word for word and bounded."""
    ask_whole(client, extra_body={"provider": {"sort": "price"}}, extra_headers={"x-test": "yes"})
    (seen,) = providers.control.seen("p")
    assert seen["path"] == "/p/p/v1/chat/completions"
    assert seen["headers"]["x-test"] == "yes"
    assert seen["headers"]["authorization"] == "Bearer sk-p"
    assert seen["body"]["provider"] == {"sort": "price"}
    assert seen["body"]["tools"] == TOOLS
    assert providers.control.seen("other") == []
    providers.control.forget_seen("p")
    assert (providers.control.seen("p"), providers.control.requests("p")) == ([], 1)
    for _ in range(220):
        ask_whole(client)
    assert len(providers.control.seen("p")) == 200


@both_ways
def test_an_answer_is_not_faster_than_its_speed(
    providers: SimulatedProviders, client: openai.OpenAI, stream: bool
) -> None:
    """An answer of 20 tokens at 200 tokens/s that waits 50 ms for its first byte cannot be there before 150 ms."""
    providers.control.behave("p", latency_s=0.05, tokens_per_s=200.0, content="x" * 80)
    answer = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, stream=stream)
    if stream:
        list(answer.parse())
    assert answer.http_response.elapsed.total_seconds() >= 0.15


def test_a_broken_body_is_a_400(providers: SimulatedProviders) -> None:
    """What is no JSON object is refused as a provider would."""
    for content in (b"{", b"[]"):
        answer = httpx.post(f"{providers.api_base('p')}/chat/completions", content=content, trust_env=False)
        assert answer.status_code == 400


def test_it_runs_as_a_process_of_its_own() -> None:
    """The first line on stdout is the base URL, and the process ends when it is told to."""
    command = [sys.executable, "-m", "exacto_plugin.demo.provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        try:
            with openai.OpenAI(api_key="sk", base_url=f"{base_url}/p/x/v1") as client:
                assert ask_whole(client).choices[0].finish_reason == "tool_calls"
        finally:
            process.terminate()
        assert process.wait(timeout=10) in (0, -15)


def test_measured_error_rates() -> None:
    """The newest published table: sixteen providers, seven without a bad call, the worst at 28 %."""
    rows = {row.slug: row for row in table()}
    assert len(rows) == 16
    assert sum(row.error_rate == 0 for row in rows.values()) == 7
    assert max(row.error_rate for row in rows.values()) == pytest.approx(0.2804, abs=1e-4)
    assert rows["moonshot-ai-turbo"].behaviour(seed=3) == Behaviour(seed=3)
    assert rows["vllm"].behaviour().error_rate == pytest.approx(318 / 1325)
    assert rows["groq"].propensity == pytest.approx(0.261, abs=1e-3)
