"""Scoring: what a provider answers through a real proxy shows as counts of that provider, and nothing else does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import Probe, api, eventually, judged, verdict
from tests.support.proxy.proxy import CALLBACK, Proxy, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS, ask
from tests.support.proxy.scripted_upstream import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy


class Kind(NamedTuple):
    """What one answer means."""

    act: Act
    outcome: str
    """How the request is counted."""
    calls: dict[str, int]
    """How its calls are counted."""


KINDS = (
    Kind(Act.VALID, "valid", {"valid": 1}),
    Kind(Act.INVALID_JSON, "invalid_json", {"invalid_json": 1}),
    Kind(Act.UNKNOWN_NAME, "unknown_name", {"unknown_name": 1}),
    Kind(Act.SCHEMA_MISMATCH, "schema_mismatch", {"schema_mismatch": 1}),
    Kind(Act.EMPTY_ARGUMENTS, "invalid_json", {"invalid_json": 1}),
    Kind(Act.TEXT, "no_call", {}),
    Kind(Act.MISSING_CALL, "lost", {}),
    Kind(Act.DUPLICATE_IDS, "valid", {"valid": 2}),
    Kind(Act.TRUNCATED, "cut_short", {}),
    Kind(Act.LEAKED_MARKUP, "lost", {}),
)
FLAWS = {
    Act.INVALID_JSON: ("invalid_json", "provider"),
    Act.UNKNOWN_NAME: ("unknown_name", "provider"),
    Act.SCHEMA_MISMATCH: ("schema_mismatch", "provider"),
    Act.MISSING_CALL: ("missing_call", "provider"),
    Act.DUPLICATE_IDS: ("duplicate_id", "provider"),
    Act.TRUNCATED: ("truncated", "limit"),
    Act.LEAKED_MARKUP: ("leaked_markup", "provider"),
}
"""What is wrong with each kind of answer, and who is to blame."""
MODES = {"whole": False, "streamed": True}
SILENT_S = 2
"""After so long an attempt at a deployment that never answers is given up."""
ALONE = ("cached", "redacted", "left", "paced-whole", "paced-streamed", "plain", "broken-schema", "checked", "moved")
ASKING = ("required-ignored", "named-ignored", "named-done", "auto-text", "unoffered-named", "orphan-result")
GROUPS = [*(f"{kind}-{mode}" for kind in (*(kind.act.value for kind in KINDS), *ASKING) for mode in MODES), *ALONE]


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedUpstream]:
    """An upstream for answers that the simulated providers do not give."""
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """The probe inside the proxy of this module."""
    return Probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def proxy(
    provider_server: SimulatedProviders, scripted: ScriptedUpstream, start_proxy: StartProxy, probe: Probe
) -> Proxy:
    """A model group of one deployment for each test, so that no test sees another one's counts."""
    filtered = [
        {**deployment(provider_server, group, group), "litellm_params": {
            "model": "openai/scripted", "api_base": scripted.api_base, "api_key": "sk-scripted",
        }}
        for group in ("filtered-whole", "filtered-streamed", "legacy-whole", "legacy-streamed")
    ]  # fmt: skip
    moved = deployment(provider_server, "silent", "moved", timeout=SILENT_S, order=1)
    config = {
        "model_list": [
            *(deployment(provider_server, group, group, **_level(group)) for group in GROUPS),
            *filtered,
            moved,
        ],
        "litellm_settings": {
            "callbacks": [CALLBACK],
            "cache": True,
            "cache_params": {"type": "local", "mode": "default_off"},
        },
        "router_settings": {"num_retries": 0},
        "exacto_settings": {"tiers": {"preset": "openrouter", "recompute_interval_s": 0.2}},
    }
    return start_proxy(config, environment=probe.environment)


def _level(group: str) -> dict[str, Any]:
    return {"order": 2} if group == "moved" else {}


def _calls(probe: Probe, group: str) -> dict[str, float]:
    return probe.metric("exacto_tool_call_evaluations_total", "exacto_tool_call_outcome", exacto_model_group=group)


def _flaws(probe: Probe, group: str) -> dict[str, float]:
    return probe.metric("exacto_answer_flaws_total", "exacto_answer_flaw", exacto_model_group=group)


def _requests(probe: Probe, outcome: str) -> float:
    return probe.metric("exacto_requests_total", exacto_request_outcome=outcome).get("", 0.0)


def _attempts(probe: Probe, group: str) -> float:
    """Attempts that ended: the last that is counted of an answer."""
    return probe.metric("exacto_deployment_attempts_total", exacto_model_group=group).get("", 0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.act.value)
def test_every_answer_is_counted_as_what_it_is(
    proxy: Proxy, providers: SimulatedProviders, probe: Probe, kind: Kind, mode: str
) -> None:
    """Each kind of answer counts once, as what it is, and on the deployment that gave it."""
    group = f"{kind.act.value}-{mode}"
    outcome, calls = kind.outcome, kind.calls
    before = _requests(probe, outcome)
    providers.control.behave(group, next=[kind.act])
    ask(proxy.client(), group, stream=MODES[mode])
    eventually(lambda: _attempts(probe, group), 1)
    assert _requests(probe, outcome) == before + 1
    assert _calls(probe, group) == calls
    bad = int(bool(calls) and "valid" not in calls)
    eventually(lambda: judged(proxy, group), (int(bool(calls)), bad))
    if kind.act in FLAWS:
        flaw, blame = FLAWS[kind.act]
        assert _flaws(probe, group) == {flaw: 1}
        assert probe.metric("exacto_answer_flaws_total", "exacto_blame", exacto_model_group=group) == {blame: 1}
        # Without a judged call there is no verdict before the next recompute.
        eventually(lambda: (verdict(proxy, group) or {}).get("flaws"), {flaw: 1})


NAMED = {"type": "function", "function": {"name": "get_weather"}}
UNOFFERED = {"type": "function", "function": {"name": "nothing"}}
ORPHAN = [*MESSAGES, {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
ASKED: dict[str, tuple[Act, dict[str, Any], dict[str, float]]] = {
    "required-ignored": (Act.TEXT, {"tool_choice": "required"}, {"ignored_choice": 1}),
    "named-ignored": (Act.TEXT, {"tool_choice": NAMED}, {"ignored_choice": 1}),
    "named-done": (Act.VALID, {"tool_choice": NAMED}, {}),
    "auto-text": (Act.TEXT, {"tool_choice": "auto"}, {}),
    "unoffered-named": (Act.TEXT, {"tool_choice": UNOFFERED}, {"contradictory_choice": 1}),
    "orphan-result": (Act.INVALID_JSON, {"messages": ORPHAN}, {"invalid_json": 1, "broken_history": 1}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", ASKING)
def test_what_was_asked_decides_who_is_to_blame(
    proxy: Proxy, providers: SimulatedProviders, probe: Probe, case: str, mode: str
) -> None:
    """A demanded call that does not come is the provider's fault; what follows a contradictory request is not."""
    group = f"{case}-{mode}"
    act, asked, flaws = ASKED[case]
    providers.control.behave(group, next=[act])
    ask(proxy.client(), group, stream=MODES[mode], **asked)
    eventually(lambda: _attempts(probe, group), 1)
    eventually(lambda: _flaws(probe, group), flaws)


@pytest.mark.parametrize("mode", MODES)
def test_a_content_filter_is_nobodys_bad_call(
    proxy: Proxy, providers: SimulatedProviders, scripted: ScriptedUpstream, probe: Probe, mode: str
) -> None:
    """An answer that a filter cut in the middle of its arguments is not judged."""
    function = {"name": "get_weather", "arguments": '{"city": "Lis'}
    scripted.message = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]}
    scripted.finish_reason = "content_filter"
    before = _requests(probe, "cut_short")
    ask(proxy.client(), f"filtered-{mode}", stream=MODES[mode])
    eventually(lambda: _attempts(probe, f"filtered-{mode}"), 1)
    assert _requests(probe, "cut_short") == before + 1
    assert _calls(probe, f"filtered-{mode}") == {}
    assert _flaws(probe, f"filtered-{mode}") == {"filtered": 1}


@pytest.mark.parametrize("mode", MODES)
def test_the_older_form_of_calls_is_judged(
    proxy: Proxy, providers: SimulatedProviders, scripted: ScriptedUpstream, probe: Probe, mode: str
) -> None:
    """OpenAI's ``functions`` and ``function_call`` are judged as tools and their calls are."""
    scripted.message = {"content": None, "function_call": {"name": "get_weather", "arguments": '{"city": "Lisbon"}'}}
    scripted.finish_reason = "function_call"
    functions = [tool["function"] for tool in TOOLS]
    ask(proxy.client(), f"legacy-{mode}", stream=MODES[mode], tools=False, functions=functions)
    eventually(lambda: _attempts(probe, f"legacy-{mode}"), 1)
    assert _calls(probe, f"legacy-{mode}") == {"schema_mismatch": 1}


def test_cache_hits_count_for_nobody(proxy: Proxy, providers: SimulatedProviders, probe: Probe) -> None:
    """An answer out of LiteLLM's cache, whole or streamed, says nothing about a deployment."""
    providers.control.behave("cached", always=Act.INVALID_JSON)
    hits = 0
    for stream in (False, True):

        def hit(stream: bool = stream) -> bool:
            before = providers.control.requests("cached")
            ask(proxy.client(), "cached", stream=stream, extra_body={"cache": {"use-cache": True}})
            return providers.control.requests("cached") == before

        eventually(hit, True)  # LiteLLM puts an answer into its cache after the client has it
        assert all([hit(), hit()])
        hits += 3
    asked = providers.control.requests("cached")
    assert asked >= 1
    eventually(lambda: _attempts(probe, "cached"), asked)
    eventually(lambda: _requests(probe, "cache_hit"), hits)
    assert _calls(probe, "cached") == {"invalid_json": asked}
    assert _attempts(probe, "cached") == asked


@pytest.mark.parametrize("mode", MODES)
def test_redacted_answers_are_not_judged(proxy: Proxy, providers: SimulatedProviders, probe: Probe, mode: str) -> None:
    """Where LiteLLM shows callbacks no arguments, good ones do not count as invalid JSON."""
    before = _requests(probe, "redacted")
    ask(proxy.client(), "redacted", stream=MODES[mode], extra_headers={"x-litellm-enable-message-redaction": "true"})
    eventually(lambda: _requests(probe, "redacted"), before + 1)
    eventually(lambda: _attempts(probe, "redacted"), before + 1)
    assert _calls(probe, "redacted") == {}


def test_a_client_that_leaves_blames_nobody(proxy: Proxy, providers: SimulatedProviders, probe: Probe) -> None:
    """A stream that its client closed in the middle of the arguments is not judged, though LiteLLM logs a success."""
    providers.control.behave("left", always=Act.STALL)
    asked: Any = {"model": "left", "messages": MESSAGES, "tools": TOOLS}
    with proxy.client().chat.completions.create(**asked, stream=True) as stream:
        for chunk in stream:
            calls = chunk.choices[0].delta.tool_calls if chunk.choices else None
            if calls and calls[0].function and calls[0].function.arguments:
                break
    eventually(lambda: _requests(probe, "client_disconnect"), 1)
    assert _calls(probe, "left") == {}
    assert _flaws(probe, "left") == {"disconnected": 1}
    providers.control.behave("left", always=None)
    ask(proxy.client(), "left")
    eventually(lambda: judged(proxy, "left"), (1, 0))
    eventually(lambda: _attempts(probe, "left"), 1)
    assert _calls(probe, "left") == {"valid": 1}


@pytest.mark.parametrize("mode", MODES)
def test_speed_is_the_providers(proxy: Proxy, providers: SimulatedProviders, mode: str) -> None:
    """Throughput and latency are never better than the provider's pace, nor worse than what the client saw."""
    group, tokens, tokens_per_s, latency_s = f"paced-{mode}", 240, 400.0, 0.4
    content = "word" * tokens
    providers.control.behave(
        group, content=content, tokens_per_s=tokens_per_s, latency_s=latency_s, completion_tokens=tokens
    )
    begun = time.monotonic()
    ask(proxy.client(), group, stream=MODES[mode], tools=False)
    seen_s = time.monotonic() - begun
    took_s = latency_s + tokens / tokens_per_s
    eventually(lambda: (verdict(proxy, group) or {}).get("throughput") is not None, True)
    found = verdict(proxy, group) or {}
    # The histogram that medians come from has bins of about 10 percent.
    assert 0.9 * tokens / seen_s <= found["throughput"] <= 1.1 * tokens / took_s
    least_s = latency_s if MODES[mode] else took_s
    assert 0.9 * least_s <= found["latency_s"] <= 1.1 * seen_s


def test_speed_is_that_of_the_last_attempt(proxy: Proxy, providers: SimulatedProviders, probe: Probe) -> None:
    """Seconds that a silent deployment wasted are not charged to the one that then served the request."""
    providers.control.behave("silent", always=Act.HANG)
    begun = time.monotonic()
    ask(proxy.client(), "moved", stream=True, extra_body={"num_retries": 1})
    seen_s = time.monotonic() - begun
    eventually(lambda: judged(proxy, "moved"), (1, 0))
    found = verdict(proxy, "moved") or {}
    assert 0 < found["latency_s"] <= 1.1 * (seen_s - SILENT_S)
    assert providers.control.requests("silent") == 1


def test_requests_without_tools_are_not_judged(proxy: Proxy, providers: SimulatedProviders, probe: Probe) -> None:
    """Text, text completions and embeddings count as answered requests, and nothing of them is judged."""
    before = _requests(probe, "no_tools")
    ask(proxy.client(), "plain", tools=False)
    proxy.client().completions.create(model="plain", prompt="Say hello")
    proxy.client().embeddings.create(model="plain", input="hello")
    eventually(lambda: _attempts(probe, "plain"), 3)
    assert _requests(probe, "no_tools") == before + 3
    assert _calls(probe, "plain") == {}


def test_a_schema_that_is_none_blames_nobody(proxy: Proxy, providers: SimulatedProviders, probe: Probe) -> None:
    """Arguments for a tool whose schema does not compile are valid, as published: the caller broke it."""
    broken = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "no such type"}}}
    providers.control.behave("broken-schema", arguments='{"anything": 1}')
    ask(proxy.client(), "broken-schema", tools=False, extra_body={"tools": [broken]})
    eventually(lambda: _attempts(probe, "broken-schema"), 1)
    assert _calls(probe, "broken-schema") == {"valid": 1}
    assert _flaws(probe, "broken-schema") == {"broken_schema": 1}


def test_health_checks_are_not_traffic(proxy: Proxy, providers: SimulatedProviders, probe: Probe) -> None:
    """LiteLLM's own health checks count neither as requests nor as attempts."""
    before = {name: probe.metric(name) for name in ("exacto_requests_total", "exacto_deployment_attempts_total")}
    for behaviour, healthy in ((None, 1), (500, 0)):
        providers.control.behave("checked", always=behaviour)
        assert proxy.request("GET", "/health?model=checked").json()["healthy_count"] == healthy
    providers.control.behave("checked", always=None)
    ask(proxy.client(), "checked")
    eventually(lambda: judged(proxy, "checked"), (1, 0))
    eventually(lambda: _attempts(probe, "checked"), 1)
    assert {name: sum(probe.metric(name).values()) - sum(then.values()) for name, then in before.items()} == {
        "exacto_requests_total": 1,
        "exacto_deployment_attempts_total": 1,
    }


def test_nothing_failed_on_the_way(proxy: Proxy, probe: Probe) -> None:
    """After all of the above not one fault of our own was counted. The last test of this module."""
    assert api(proxy, "status").json()["faults"] == {}
    assert probe.warnings() == []
