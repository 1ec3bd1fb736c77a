"""Faults of our own: whatever breaks inside, a request goes on as LiteLLM wants; only a curated list fails closed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import openai
import pytest
from jsonschema import Draft7Validator

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.inside_probe import STEPS, hooks
from tests.support.proxy.observation import Probe, api, eventually
from tests.support.proxy.openai_client import post
from tests.support.proxy.proxy import CALLBACK, Proxy, deployment
from tests.support.proxy.questions import MESSAGES, PARAMETERS, TOOLS, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy


class Fault(NamedTuple):
    """What is expected while a step fails."""

    stage: str
    """Under which its faults are counted."""
    curated: str = "served"
    """What becomes of ``:exacto`` where a list is configured: served from the list, refused, or not understood."""


HELD, CLOSED = "refused", "unknown"
"""``:exacto`` while its step fails: the list cannot be evaluated; the suffix was not even read, so that LiteLLM knows
no such model."""

EXPECTED = {
    "hook:async_filter_deployments": Fault("filter", HELD),
    "hook:async_pre_call_hook": Fault("alias"),
    "hook:async_pre_call_deployment_hook": Fault("pre_call"),
    "hook:async_post_call_success_deployment_hook": Fault("rescue"),
    "hook:async_log_success_event": Fault("score"),
    "hook:async_post_call_failure_deployment_hook": Fault("score"),
    "hook:async_log_failure_event": Fault("score"),
    "hook:async_post_call_failure_hook": Fault("score"),
    "ExactoMiddleware._rewrite": Fault("body", CLOSED),
    "ExactoMiddleware._rewrite_path": Fault("path"),
    "Responder._add_headers": Fault("headers"),
    "Responder._refused": Fault("refusal"),
    "_response_name": Fault("names"),
    "listed_names": Fault("names"),
    "take_header": Fault("metadata"),
    "CallerPreferences.record_call": Fault("choices"),
    "ConversationAffinity.note_answer": Fault("affinity"),
    "ConversationAffinity.note_decision": Fault("affinity"),
    "ConversationAffinity.locate": Fault("affinity"),
    "ConversationAffinity.require_available": Fault("affinity"),
    "ConversationAffinity.look_up": Fault("affinity"),
    "ConversationAffinity.note_attempt": Fault("affinity"),
    "ConversationAffinity.identify": Fault("affinity"),
    "is_json": Fault("body", CLOSED),
    "Engine.decide": Fault("order"),
    "Engine.busy": Fault("pacing"),
    "Engine.note_attempt": Fault("pacing"),
    "Engine.record": Fault("score"),
    "Evaluator.evaluate_all": Fault("score"),
    "KeyAliases._aliases": Fault("alias"),
    "AuthenticatedRequestCheck._check": Fault("filter"),
    "FinalCheck._passes": Fault("filter"),
    "Failover.should_retry": Fault("failover"),
    "Failover.start_series": Fault("filter", HELD),
    "CandidateCache.all": Fault("order", HELD),
    "OverrideService.poll": Fault("overrides"),
    "Recorder.record_answer": Fault("record"),
    "Recorder.record_decision": Fault("record"),
    "Recorder.record_end": Fault("record"),
    "Recorder.flush": Fault("record"),
    "Recorder.record_recompute": Fault("record"),
    "Recorder.record_rescue": Fault("record"),
    "Replication._find": Fault("sharing"),
    "AnswerAssessment.quality": Fault("rescue"),
    "AnswerRescue._retry_elsewhere": Fault("rescue"),
    "ChatBuffer.answer": Fault("rescue"),
    "ChatBuffer.feed": Fault("rescue"),
    "MessagesBuffer.feed": Fault("rescue"),
    "ResponsesBuffer.feed": Fault("rescue"),
    "Routing.filter": Fault("filter", HELD),
    "Routing.select_pool": Fault("order"),
    "Routing.record_attempt": Fault("pre_call"),
    "Routing.state_for": Fault("filter", HELD),
    "SettingsReload.apply_changes": Fault("settings"),
    "RecomputeTimer.ensure_started": Fault("timer"),
    "Routers.register": Fault("router"),
    "Routers.knows_group": Fault("order"),
    "Routers.prepare": Fault("router"),
    "SampleSink.record": Fault("score"),
    "RosterSync.recompute": Fault("recompute"),
    "ResponseScorer.record_answer": Fault("score"),
    "ResponseScorer.record_failure": Fault("score"),
    "SnapshotGauges._tiers": Fault("telemetry"),
    "Telemetry.attempt": Fault("score"),
    "Telemetry.decision": Fault("order"),
    "Telemetry.evaluations": Fault("score"),
    "Telemetry.fault": Fault("telemetry"),
    "Telemetry.recomputed": Fault("telemetry"),
    "Telemetry.request": Fault("score"),
    "Telemetry.rescue": Fault("telemetry"),
}
WITH = {"Telemetry.fault": "exacto_plugin.litellm_hooks.routing.router:Routing.select_pool"}
"""Steps that are reached only while another one fails too."""
CANARY = "canary-4711"


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """The probe inside the proxy of this module."""
    return Probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy, probe: Probe) -> Proxy:
    """A model group with a curated list of one of its two deployments, and groups that fail in their own ways."""
    config = {
        "model_list": [
            *(deployment(provider_server, name) for name in ("alpha", "beta")),
            *(deployment(provider_server, name, name) for name in ("missing", "torn", "empty")),
            *(deployment(provider_server, name, "poor") for name in ("poor-1", "poor-2")),
        ],
        "litellm_settings": {"callbacks": [CALLBACK]},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "exacto_settings": {
            "tiers": {"preset": "openrouter", "recompute_interval_s": 0.2},
            "curated": {"kimi": ["alpha"], "empty": ["nobody"]},
            "rescue": {"enabled": True, "streams": True},
        },
    }
    return start_proxy(config, environment=probe.environment)


def _misbehave(providers: SimulatedProviders) -> None:
    """Providers that fail in their own ways; both of ``poor`` call a tool badly, so that a rescue is always in vain."""
    providers.control.behave("missing", always=404)
    providers.control.behave("torn", always=Act.ERROR_FIRST)
    for name in ("poor-1", "poor-2"):
        providers.control.behave(name, always=Act.VALID, arguments='{"city": 1}')


@pytest.fixture
def failing(proxy: Proxy, providers: SimulatedProviders, probe: Probe) -> Iterator[Probe]:
    """The probe, with providers that fail as the tests want it; no fault is left behind."""
    _misbehave(providers)
    yield probe
    probe.fail({})


@pytest.fixture(scope="module")
def untouched(proxy: Proxy, provider_server: SimulatedProviders) -> dict[str, object]:
    """What everyday requests come to while nothing fails."""
    provider_server.control.reset()
    _misbehave(provider_server)
    found = _everyday(proxy)
    assert found["whole"] == found["streamed"] == "valid"
    return found


def _calls(proxy: Proxy, model: str, **more: Any) -> str:
    """``valid`` for an answer with calls that fit, else the error's status, message and type."""
    try:
        chunks = ask(proxy.client(), model, **more)
    except openai.APIStatusError as error:
        return f"{error.status_code} {error.message} ({error.type})"
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    parts = [choice.delta if more.get("stream") else choice.message for choice in choices]
    calls = [call for part in parts for call in part.tool_calls or ()]
    arguments = json.loads("".join(call.function.arguments or "" for call in calls))
    return "valid" if Draft7Validator(PARAMETERS).is_valid(arguments) else str(arguments)


def _arguments(proxy: Proxy, model: str) -> list[str]:
    """The arguments of a call, as streams of the Responses and Messages APIs bring them."""
    function = TOOLS[0]["function"]
    respond: Any = proxy.client().responses.create
    events = respond(model=model, input="hello", tools=[{"type": "function", **function}], stream=True)
    arguments = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    tools = [{"name": function["name"], "input_schema": function["parameters"]}]
    with proxy.anthropic() as client:
        create: Any = client.messages.create
        told = create(model=model, max_tokens=99, messages=MESSAGES, tools=tools, stream=True)
        deltas = [event.delta for event in told if event.type == "content_block_delta"]
    return [arguments, "".join(getattr(delta, "partial_json", "") for delta in deltas)]


def _by_path(proxy: Proxy) -> int:
    return post(proxy, "/openai/deployments/kimi/chat/completions", {"messages": MESSAGES, "tools": TOOLS}).status_code


def _everyday(proxy: Proxy) -> dict[str, object]:
    """What requests without ``:exacto`` come to, good and bad ones, whole and streamed."""
    return {
        "whole": _calls(proxy, "kimi"),
        "streamed": _calls(proxy, "kimi", stream=True),
        "path": _by_path(proxy),
        "failing": _calls(proxy, "missing"),
        "torn": _calls(proxy, "torn", stream=True),
        "poor": _calls(proxy, "poor"),
        "poor, streamed": _calls(proxy, "poor", stream=True),
        "poor, events": _arguments(proxy, "poor"),
        "unknown": _calls(proxy, "nobody"),
        "suffixed": _calls(proxy, "nobody:floor"),
    }


def _faults(proxy: Proxy, stage: str) -> int:
    return int(api(proxy, "status").raise_for_status().json()["faults"].get(stage, 0))


def test_nothing_is_forgotten() -> None:
    """Every hook of the callback and every step that can be made to fail has its expectation here."""
    assert set(EXPECTED) == {*hooks(), *(step.partition(":")[2] for step in STEPS)}


@pytest.mark.parametrize("name", EXPECTED)
def test_requests_go_on(
    proxy: Proxy, providers: SimulatedProviders, failing: Probe, untouched: dict[str, object], name: str
) -> None:
    """While a step fails, no request without ``:exacto`` changes, and the fault is counted; a list stays a promise."""
    step = next((step for step in STEPS if step.endswith(f":{name}")), name)
    fault = EXPECTED[name]
    metric = {"exacto_plugin_stage": fault.stage}
    counted, exported = _faults(proxy, fault.stage), failing.metric("exacto_plugin_errors_total", **metric).get("", 0)
    failing.fail({one: CANARY for one in (step, WITH.get(name)) if one})

    assert _everyday(proxy) == untouched
    assert "exacto_no_endpoints" in _calls(proxy, "empty:exacto") or fault.curated == CLOSED
    for stream in (False, True):
        beta = providers.control.requests("beta")
        answer = _calls(proxy, "kimi:exacto", stream=stream)
        assert {"valid": "served", "404 E": HELD, "400 E": CLOSED}[answer[:5]] == fault.curated, answer
        assert providers.control.requests("beta") == beta
    failing.scrape()

    eventually(lambda: _faults(proxy, fault.stage) > counted, True)
    if name != "Telemetry.fault":
        eventually(lambda: failing.metric("exacto_plugin_errors_total", **metric).get("", 0) > exported, True)


def test_a_decision_that_failed_is_counted_as_such(proxy: Proxy, providers: SimulatedProviders, failing: Probe) -> None:
    """The share of requests that went as LiteLLM liked because of a fault can be read from the decisions."""
    counted = {"name": "exacto_routing_decisions_total", "exacto_routing_outcome": "error"}
    before = failing.metric(**counted).get("", 0)
    failing.fail({"exacto_plugin.core.engine.engine:Engine.decide": CANARY})
    assert _calls(proxy, "kimi") == "valid"
    assert failing.metric(**counted).get("", 0) == before + 1


def test_faults_are_said_once_and_quote_nothing(proxy: Proxy, probe: Probe) -> None:
    """A line for each kind of fault and minute, with the place and without what the error said. The last test."""
    log, counts = probe.log(), api(proxy, "status").json()["faults"]
    # Alerts read the same routers in the background, so they may meet a fault that is made for a request.
    assert set(counts) - {"alerts"} == {fault.stage for fault in EXPECTED.values()}
    for stage, count in counts.items():
        said = log.count(f"skipped a step: {stage} failed with InjectedError")
        assert 1 <= said <= count, stage
    assert log.count("skipped a step: score") < counts["score"]
    assert CANARY not in log
    assert CANARY not in proxy.log()
