"""Telemetry: names, units, kinds, buckets and attributes are a contract; reading metrics never hurts the process."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import litellm
import openai
import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, Histogram, InMemoryMetricReader, Sum

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.decision import Decision, Ranked
from exacto_plugin.core.model import (
    BenchmarkScores,
    Candidate,
    DeploymentKey,
    Flaw,
    LiteLLMId,
    Outcome,
    Reason,
    ReasonCode,
    Sample,
    SignalValue,
    Snapshot,
    Tier,
    Transition,
)
from exacto_plugin.core.scoring.evaluation import Evaluation
from exacto_plugin.core.windows.observed import Observed
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.records import RecordKind
from exacto_plugin.telemetry.attributes import ATTRIBUTES, ERROR_TYPES, OTHER, error_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.telemetry.prometheus import PrometheusMirror

NOW = 1_700_000_000.0
CANDIDATE = Candidate(LiteLLMId("a"), DeploymentKey("a"), "provider-a")


class Bench(NamedTuple):
    """A runtime whose metrics can be read."""

    runtime: Runtime
    router: litellm.Router
    reader: InMemoryMetricReader

    def metrics(self) -> dict[str, Any]:
        """Everything that was measured, by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        assert {scope.scope.name for scope in scopes} == {"exacto_plugin"}
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """The attributes and values of one instrument."""
        found = self.metrics().get(name)
        return [] if found is None else [(dict(point.attributes), point.value) for point in found.data.data_points]


def _router(*groups: str) -> litellm.Router:
    entries = [
        {
            "model_name": group,
            "litellm_params": {"model": "openai/m", "api_base": "http://127.0.0.1:9", "api_key": "sk-secret"},
            "model_info": {"id": key, "provider": f"provider-{key}"},
        }
        for group in groups
        for key in ("a", "b", "c", "d")
    ]
    return litellm.Router(model_list=entries)


def measured(provider: MeterProvider | None = None, mirror: PrometheusMirror | None = None) -> Bench:
    """A runtime with a router of one model group, verdicts on its four deployments included.

    Args:
        provider: of the instruments; one with the reader of the result when omitted.
        mirror: gets the measurements as well.
    """
    reader = InMemoryMetricReader()
    rule = {"tool_call_requests": 2, "throughput_requests": 2}
    settings = Settings.model_validate({"tiers": {"preset": "openrouter", "openrouter": rule}})
    provider = provider or MeterProvider([reader])
    runtime = Runtime(settings, clock=lambda: NOW, meter_provider=provider, mirror=mirror)
    router = _router("kimi")
    runtime.routers.add(router)
    for key in ("a", "b", "c", "d"):
        for _ in range(3):
            runtime.samples.record(
                _sample("kimi", key), Candidate(LiteLLMId(key), DeploymentKey(key), f"provider-{key}")
            )
    scores = BenchmarkScores({DeploymentKey(key): SignalValue(0.9, 60) for key in "abcd"}, 0.9, 0.8, 50)
    runtime.engine.observe_scores("kimi", scores)
    asyncio.run(runtime.recomputer.recompute())
    told = Observed(0.4, 300, 1.5, 3.0, 40, 0.2, 50)
    runtime.observed.latest = {("kimi", "a"): told, ("kimi", "b"): Observed(), ("made-up-1", "a"): told}
    return Bench(runtime, router, reader)


@pytest.fixture
def bench() -> Bench:
    """One for each test."""
    return measured()


def _sample(group: str, key: str) -> Sample:
    return Sample(
        group,
        DeploymentKey(key),
        NOW,
        tools_offered=True,
        outcome=Outcome.VALID,
        output_tokens=200,
        duration_s=2.0,
        caller="c",
    )


def count_everything(runtime: Runtime, group: str = "kimi") -> None:
    """Count one of each."""
    telemetry = runtime.context.telemetry
    telemetry.evaluations(group, CANDIDATE, [Evaluation(Outcome.VALID), Evaluation(Outcome.INVALID_JSON)])
    telemetry.flaws(group, CANDIDATE, [Flaw.LEAKED_MARKUP, Flaw.TRUNCATED])
    telemetry.request("valid")
    telemetry.answer("chat", False)
    telemetry.answer("chat", True)
    telemetry.attempt(group, Tier.VERIFIED_GOOD, None)
    telemetry.attempt(group, None, "timeout")
    ranking = tuple(Ranked(LiteLLMId(key), DeploymentKey(key), 0, Tier.VERIFIED_GOOD) for key in ("a", "b"))
    for pool, applied in ((("a",), True), (("a", "b"), True), (("a", "b"), False)):
        telemetry.decision(group, Decision("auto", ranking, pool, applied, "tiers"), 0.0001)  # type: ignore[arg-type]
    telemetry.fallback_decision(group)
    telemetry.rescue(group, "rescued", 0.8, 0.002)
    telemetry.rescue(group, "failed", 0.1, None)
    telemetry.transition(Transition(group, DeploymentKey("a"), Tier.VERIFIED_GOOD, Tier.DERANKED, NOW))
    telemetry.recomputed(0.01, None)
    telemetry.recomputed(0.01, RuntimeError("not to be told"))
    telemetry.refusal(group, "curated")
    telemetry.refusal(group, None)
    telemetry.alert("derank")
    telemetry.fault("order")
    telemetry.records(RecordKind.DECISIONS, 3, None)
    telemetry.records(RecordKind.DECISIONS, 2, "disk_full")


def _kind(metric: Any) -> str:
    if isinstance(metric.data, Sum):
        return "counter" if metric.data.is_monotonic else "up_down_counter"
    return {Gauge: "gauge", Histogram: "histogram"}[type(metric.data)]


def _attributes(metric: Any) -> set[str]:
    return {name for point in metric.data.data_points for name in point.attributes}


def described(metric: Any) -> dict[str, Any]:
    """What one instrument promises."""
    (buckets,) = {tuple(getattr(point, "explicit_bounds", ())) for point in metric.data.data_points}
    attributes = sorted(_attributes(metric))
    return {"kind": _kind(metric), "unit": metric.unit, "attributes": attributes, "buckets": list(buckets)}


def test_every_instrument_is_described(bench: Bench) -> None:
    """What each one measures is told; their names, units and attributes are frozen by ``tests/test_wire_names.py``."""
    count_everything(bench.runtime)
    assert all(metric.description for metric in bench.metrics().values())


def test_the_attributes_are_a_closed_set(bench: Bench) -> None:
    """What can be attached to a measurement is listed once, and all of it is in use."""
    count_everything(bench.runtime)
    assert set().union(*(_attributes(metric) for metric in bench.metrics().values())) == ATTRIBUTES
    assert isinstance(ATTRIBUTES, frozenset)


def test_counts(bench: Bench) -> None:
    """Each measurement counts once under its attributes."""
    count_everything(bench.runtime)
    own = {"exacto.model_group": "kimi", "exacto.deployment.id": "a", "gen_ai.provider.name": "provider-a"}
    assert bench.points("exacto.tool_call.evaluations") == [
        ({**own, "exacto.tool_call.outcome": "valid"}, 1),
        ({**own, "exacto.tool_call.outcome": "invalid_json"}, 1),
    ]
    assert bench.points("exacto.deployment.attempts") == [
        ({"exacto.model_group": "kimi", "exacto.tier": "verified_good"}, 1),
        ({"exacto.model_group": "kimi", "exacto.tier": "none", "error.type": "timeout"}, 1),
    ]
    outcomes = [attributes["exacto.routing.outcome"] for attributes, _ in bench.points("exacto.routing.decisions")]
    assert outcomes == ["reordered", "unchanged", "bypassed", "error"]
    rescues = [(attributes["exacto.rescue.outcome"], count) for attributes, count in bench.points("exacto.rescues")]
    assert rescues == [("rescued", 1), ("failed", 1)]
    assert bench.points("exacto.rescue.cost") == [({"exacto.model_group": "kimi"}, 0.002)]
    change = {"exacto.tier": "deranked"}
    assert ({**own, **change}, 1) in bench.points("exacto.tier.transitions")
    assert len(bench.points("exacto.tier.transitions")) == 5  # that one, and four that were verified before
    assert bench.points("exacto.plugin.errors") == [({"exacto.plugin.stage": "order"}, 1)]


def test_snapshot_values(bench: Bench) -> None:
    """What is observed is the snapshot: one tier per deployment is 1, the signals and references are its numbers."""
    tiers = {
        (point["exacto.deployment.id"], point["exacto.tier"]): value
        for point, value in bench.points("exacto.deployment.tier")
    }
    assert len(tiers) == 12
    assert {key: value for key, value in tiers.items() if value} == {(key, "verified_good"): 1 for key in "abcd"}
    assert [value for _, value in bench.points("exacto.signal.tool_call_success")] == [1.0] * 4
    assert bench.points("exacto.reference.tool_call_success.median") == [({"exacto.model_group": "kimi"}, 1.0)]
    assert bench.points("exacto.snapshot.age") == [({"exacto.model_group": "kimi"}, 0.0)]
    counts = {(p["exacto.deployment.id"], p["exacto.signal"]): v for p, v in bench.points("exacto.window.sample.count")}
    assert counts["a", "tool_call_success"] == counts["a", "throughput"] == 3
    ((attributes, value),) = bench.points("exacto.observed.queue_time")
    assert (attributes["exacto.deployment.id"], value) == ("a", 1.5)


def test_a_common_cause_is_a_gauge(bench: Bench) -> None:
    """Its size while it lasts, 0 before and after."""
    engine = bench.runtime.engine
    assert bench.points("exacto.common_cause") == [({"exacto.model_group": "kimi"}, 0.0)]
    for end, size in ((None, 0.14), (NOW, 0.0)):
        cause = Reason(ReasonCode.COMMON_CAUSE, value=0.14, peers=8, begin=NOW - 1500, end=end)
        group = replace(engine.measured.groups["kimi"], common_cause=cause)
        engine.adopt(Snapshot("s", NOW, {"kimi": group}), {})
        assert bench.points("exacto.common_cause") == [({"exacto.model_group": "kimi"}, size)]


def test_callers_cannot_grow_series(bench: Bench) -> None:
    """A model group that no operator configured is `_other`, with its deployments, in every instrument."""
    for number in range(50):
        group = f"made-up-{number}"
        count_everything(bench.runtime, group)
        bench.runtime.samples.record(
            _sample(group, group), Candidate(LiteLLMId(group), DeploymentKey(group), "provider-a")
        )
    asyncio.run(bench.runtime.recomputer.recompute())
    for name, metric in bench.metrics().items():
        for point in metric.data.data_points:
            assert point.attributes.get("exacto.model_group", OTHER) in ("kimi", OTHER), name
            assert point.attributes.get("exacto.deployment.id", OTHER) in ("a", "b", "c", "d", OTHER), name


def test_without_a_provider_nothing_happens() -> None:
    """Nobody set a provider: everything works, counts nothing, and we set none either."""
    before = metrics.get_meter_provider()
    assert not isinstance(before, MeterProvider)
    count_everything(Runtime(Settings()))
    assert metrics.get_meter_provider() is before


def _break(what: Any) -> Any:
    raise RuntimeError(f"cannot read {what}")


@pytest.mark.parametrize("where", ["knows_group", "clock", "providers", "engine"])
def test_reading_never_fails(
    bench: Bench, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks while metrics are read, the other instruments are read all the same and the fault is counted."""
    bench.runtime.context.telemetry.request("valid")
    broken: dict[str, Any] = {
        "knows_group": _break,
        "clock": lambda: _break("clock"),
        "providers": None,
        "engine": None,
    }
    read = ("knows_group", "clock", "providers", "engine", "faults", "observed")
    source = SimpleNamespace(**{name: getattr(bench.runtime.metrics, name) for name in read})
    setattr(source, where, broken[where])
    telemetry = bench.runtime.context.telemetry
    for reader in (telemetry, telemetry._gauges):
        monkeypatch.setattr(reader, "_source", source)
    with caplog.at_level(logging.WARNING):
        assert bench.points("exacto.requests") == [({"exacto.request.outcome": "valid"}, 1)]
    assert bench.runtime.context.faults.counts["telemetry"] > 0
    assert {record.name for record in caplog.records} == {"exacto_plugin"}
    monkeypatch.undo()
    assert bench.points("exacto.plugin.errors") == [
        ({"exacto.plugin.stage": "telemetry"}, bench.runtime.context.faults.counts["telemetry"])
    ]


def test_metrics_are_read_while_everything_changes(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A thread that reads metrics all the time meets neither an error nor a half-made snapshot."""
    done = threading.Event()
    torn: list[Mapping[str, int]] = []

    def read() -> None:
        while not done.is_set():
            tiers: dict[str, int] = {}
            for point, value in bench.points("exacto.deployment.tier"):
                key = f"{point['exacto.model_group']}/{point['exacto.deployment.id']}"
                tiers[key] = tiers.get(key, 0) + int(value)
            if set(tiers.values()) - {1}:
                torn.append(tiers)

    reader = threading.Thread(target=read)
    reader.start()
    routers = [_router("kimi", f"group-{number}") for number in range(6)]
    current = [bench.router]
    bench.runtime.routers.set_source(lambda: current[0])
    try:
        for number in range(120):
            current[0] = routers[number % 6]
            for group in ("kimi", f"group-{number % 6}"):
                bench.runtime.samples.record(_sample(group, "a"), CANDIDATE)
            asyncio.run(bench.runtime.recomputer.recompute())
    finally:
        done.set()
        reader.join()
    assert torn == []
    assert bench.runtime.context.faults.counts == {}
    assert caplog.records == []


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: litellm.Timeout("x", "m", "p"), "timeout"),
        (lambda: litellm.RateLimitError("x", "p", "m"), "rate_limit"),
        (lambda: litellm.AuthenticationError("x", "p", "m"), "authentication"),
        (lambda: litellm.NotFoundError("x", "m", "p"), "not_found"),
        (lambda: litellm.BadRequestError("x", "m", "p"), "bad_request"),
        (lambda: litellm.ContextWindowExceededError("x", "m", "p"), "bad_request"),
        (lambda: litellm.InternalServerError("x", "p", "m"), "server_error"),
        (lambda: litellm.ServiceUnavailableError("x", "p", "m"), "server_error"),
        (lambda: TimeoutError(), "timeout"),
        (lambda: openai.OpenAIError("x"), "_OTHER"),
        (lambda: None, "_OTHER"),
    ],
)
def test_error_types(make: Callable[[], BaseException | None], name: str) -> None:
    """Failures have few names, none of them out of the error's text."""
    assert error_type(make()) == name
    assert name in ERROR_TYPES
    assert len(ERROR_TYPES) <= 10
