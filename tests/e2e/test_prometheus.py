"""The plugin's series on LiteLLM's own ``/metrics``, from one worker and from several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.proxy.observation import eventually
from tests.support.proxy.proxy import CALLBACK, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS, ask
from tests.support.proxy.tier_setup import QUICK

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

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


def config(providers: SimulatedProviders) -> dict[str, Any]:
    """A group with a curated list, one whose list names nobody, and one whose first attempt fails before a refusal."""
    return {
        "model_list": [
            deployment(providers, "first"),
            deployment(providers, "second"),
            deployment(providers, "third", "glm"),
        ],
        "litellm_settings": {"callbacks": ["prometheus", CALLBACK]},
        "router_settings": {"num_retries": 0},
        "exacto_settings": {
            "tiers": QUICK,
            "curated": {"kimi": ["first"], "glm": ["nobody"]},
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
def proxy(start_proxy: StartProxy, provider_server: SimulatedProviders) -> Proxy:
    """One worker."""
    return start_proxy(config(provider_server))


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
