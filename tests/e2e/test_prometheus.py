"""The plugin's series on LiteLLM's own ``/metrics``, from one worker and from several, and all telemetry over OTLP."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from exacto_plugin.demo.behaviour import Act
from exacto_plugin.telemetry import table
from exacto_plugin.telemetry.table import Kind
from tests.support.proxy.observation import eventually
from tests.support.proxy.proxy import CALLBACK, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS, ask
from tests.support.proxy.tier_setup import QUICK

try:
    from tests.support.proxy.otlp_receiver import OtlpReceiver, attributes_of

    exports = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
except ImportError:
    exports = False

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

MEASURED = {
    table.EVALUATIONS: "sum",
    table.FLAWS: "sum",
    table.REQUESTS: "sum",
    table.ATTEMPTS: "sum",
    table.DECISIONS: "sum",
    table.REFUSALS: "sum",
    table.ALERTS: "sum",
    table.RECORDS: "sum",
    table.ROUTING_DURATION: "histogram",
    table.RECOMPUTE_DURATION: "histogram",
    table.TIERS: "sum",
    table.SAMPLES: "sum",
    table.FEATURES: "sum",
    table.SNAPSHOT_AGE: "gauge",
}
"""Instruments that this traffic measures, and their form in OTLP."""

Samples = list[tuple[str, dict[str, str], float]]


def scrape(proxy: Proxy) -> Samples:
    """Every sample of the endpoint."""
    text = proxy.request("GET", "/metrics/").raise_for_status().text
    return [
        (sample.name, dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """The sum of a name's series with these labels; None without any."""
    found = [number for one, has, number in samples if one == name and labels.items() <= has.items()]
    return sum(found) if found else None


def config(providers: SimulatedProviders, *callbacks: str) -> dict[str, Any]:
    """A group whose curated list has an entry too many, one whose list names nobody, and one that ignores its own."""
    return {
        "model_list": [
            deployment(providers, "first"),
            deployment(providers, "second"),
            deployment(providers, "third", "glm"),
        ],
        "litellm_settings": {"callbacks": ["prometheus", *callbacks, CALLBACK]},
        "router_settings": {"num_retries": 0},
        "exacto_settings": {
            "tiers": QUICK,
            "curated": {"kimi": ["first", "nobody"], "glm": ["nobody"]},
            "model_groups": {"glm": {"ignore": ["third"]}},
        },
    }


def refuse(proxy: Proxy, model: str) -> None:
    """Ask for something that is refused."""
    with pytest.raises(openai.NotFoundError, match="is left by"):
        ask(proxy.client(), model)


def _deployment_counts(samples: Samples) -> dict[str, float]:
    return {
        name: sum(number for one, _, number in samples if one == f"{name}_total")
        for name in (
            "litellm_deployment_failure_responses",
            "litellm_deployment_total_requests",
            "litellm_llm_api_failed_requests_metric",
        )
    }


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver | None]:
    """What the proxy exports to over OTLP; None without the exporter."""
    if not exports:
        yield None
        return
    with OtlpReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(start_proxy: StartProxy, provider_server: SimulatedProviders, receiver: OtlpReceiver | None) -> Proxy:
    """One worker, with LiteLLM's ``otel`` ahead of the plugin."""
    if receiver is None:
        return start_proxy(config(provider_server))
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.base_url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "LITELLM_OTEL_INTEGRATION_ENABLE_METRICS": "true",
        "LITELLM_OTEL_INTEGRATION_ENABLE_EVENTS": "true",
    }
    return start_proxy(config(provider_server, "otel"), environment=variables)


def test_one_worker(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Counters, histograms and observed values are there, named as the exporter of OpenTelemetry names them."""
    for _ in range(3):
        ask(proxy.client(), "kimi:exacto")
    eventually(lambda: value(scrape(proxy), "exacto_requests_total", exacto_request_outcome="valid"), 3)
    eventually(lambda: value(scrape(proxy), "exacto_deployment_tier", exacto_deployment_id="first"), 1)
    samples = scrape(proxy)
    assert value(samples, "exacto_routing_duration_seconds_count") == 3
    assert value(samples, "exacto_feature_enabled", exacto_feature="tiers") == 1
    assert not [name for name, _, _ in samples if name.startswith("exacto_") and name.endswith("_created")]


def test_refusals_are_no_failures_of_deployments(proxy: Proxy, providers: SimulatedProviders) -> None:
    """No deployment is called for a refused request, so LiteLLM's metrics of deployments do not count it.

    A failure of a deployment is counted as before, and the client's failed request is, too.
    """
    counted = _deployment_counts(scrape(proxy))
    ask(proxy.client(), "kimi")
    providers.control.behave("first", next=[500])
    with pytest.raises(openai.InternalServerError):
        ask(proxy.client(), "first")
    more = {
        "litellm_deployment_failure_responses": 1,
        "litellm_deployment_total_requests": 2,
        "litellm_llm_api_failed_requests_metric": 1,
    }
    wanted = {name: counted[name] + number for name, number in more.items()}
    eventually(lambda: _deployment_counts(scrape(proxy)), wanted)
    for model in ("glm:exacto", "glm", "third"):
        refuse(proxy, model)
    refused = {"exception_class": "ExactoRefusedError"}
    eventually(lambda: value(scrape(proxy), "litellm_proxy_failed_requests_metric_total", **refused), 3)
    ask(proxy.client(), "kimi")  # its success is logged after the refusals
    wanted["litellm_deployment_total_requests"] += 1
    eventually(lambda: _deployment_counts(scrape(proxy)), wanted)


@pytest.mark.skipif(not exports, reason="opentelemetry-exporter-otlp-proto-http is not installed")
def test_otlp(proxy: Proxy, providers: SimulatedProviders, receiver: OtlpReceiver) -> None:
    """Metrics, attributes of spans and events arrive with the names and types of the table."""
    providers.control.behave("first", next=[Act.LEAKED_MARKUP])
    ask(proxy.client(), "kimi:exacto")
    ask(proxy.client(), "kimi:exacto", stream=True)
    providers.control.behave("first", next=[Act.EMPTY])
    ask(proxy.client(), "kimi:exacto", tools=False, stream=True)
    refuse(proxy, "glm")
    eventually(lambda: {row.name for row in MEASURED} - receiver.metrics().keys(), set())
    for row, kind in MEASURED.items():
        metric = receiver.metrics()[row.name]
        assert (metric.WhichOneof("data"), metric.unit, bool(metric.description)) == (kind, row.unit, True)
        data = getattr(metric, kind)
        if kind == "sum":
            assert (data.is_monotonic, data.aggregation_temporality) == (row.kind is Kind.COUNTER, 2)
        if kind == "histogram":
            assert {tuple(point.explicit_bounds) for point in data.data_points} == {row.buckets}
        for point in data.data_points:
            assert attributes_of(point).keys() <= {*row.attributes}
    wanted = [
        ("lost", ["leaked_markup"], "provider"),
        ("valid", None, None),
        ("broken", ["empty"], "provider"),
    ]
    told = ("exacto.request.outcome", "exacto.answer.flaws", "exacto.blame")
    eventually(lambda: [tuple(span.get(name) for name in told) for span in _answers(receiver)][-3:], wanted)
    span = _answers(receiver)[-1]
    assert span["exacto.model_group"] == "kimi"
    assert span["exacto.routing.policy"] == "exacto"
    assert span["exacto.routing.deployments"] == ["first"]
    assert len(span["exacto.routing.tiers"]) == 1
    assert isinstance(span["exacto.snapshot.id"], str)
    eventually(lambda: [one[0] for one in receiver.events()][:1], ["exacto.alert"])
    _, body, attributes = receiver.events()[0]
    assert attributes == {"exacto.alert": "curated_list", "exacto.model_group": "kimi"}
    assert "nobody" in body


def _answers(receiver: OtlpReceiver) -> list[dict[str, Any]]:
    return [span for span in receiver.spans() if "exacto.request.outcome" in span]


def test_two_workers(start_proxy: StartProxy, providers: SimulatedProviders) -> None:
    """What the workers counted is added up, and observed values are there once, from either."""
    proxy = start_proxy(config(providers), workers=2)
    for _ in range(6):
        answer = proxy.request(
            "POST", "/v1/chat/completions", json={"model": "kimi", "messages": MESSAGES, "tools": TOOLS}
        )
        answer.raise_for_status()
    eventually(lambda: value(scrape(proxy), "exacto_requests_total", exacto_request_outcome="valid"), 6)
    eventually(lambda: value(scrape(proxy), "exacto_window_sample_count", exacto_signal="tool_call_success"), 6, 40)
    tiers = [has for name, has, _ in scrape(proxy) if name == "exacto_deployment_tier"]
    assert len(tiers) == 6
    assert "pid" not in tiers[0]
