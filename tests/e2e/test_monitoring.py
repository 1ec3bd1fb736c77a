"""The shipped dashboard and alerts on a real Prometheus, which scrapes a real proxy with traffic."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.prometheus_server import MONITORING, PrometheusServer, missing
from tests.support.proxy.observation import eventually
from tests.support.proxy.proxy import CALLBACK, MASTER_KEY
from tests.support.proxy.questions import ask
from tests.support.proxy.tier_setup import BAD, GOOD, NEW, QUICK, bring_about, fleet, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

GROUP = "kimi"
BOARD = json.loads((MONITORING / "grafana" / "dashboards" / "exacto.json").read_text(encoding="utf-8"))
NOT_MEASURED = {
    "exacto_signal_benchmark_score": "no benchmark was run",
    "exacto_reference_benchmark_score": "no benchmark was run",
    "exacto_reference_throughput": "the rule asks for more measured speeds than these tests make",
    "exacto_observed": "known from 20 answers of an hour on",
}
"""Beginnings of series that this traffic does not lead to. Their queries are run, and may give nothing."""


def queries() -> dict[str, str]:
    """Every query of every panel by a name, as Grafana would send it with all variables at All."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in BOARD["panels"]
        for target in panel.get("targets", [])
    }
    found |= {f"annotation {one['name']}": one["expr"] for one in BOARD["annotations"]["list"]}
    return {name: _filled(one) for name, one in found.items()}


def _filled(expression: str) -> str:
    known = {variable["name"] for variable in BOARD["templating"]["list"]}
    expression = expression.replace("$__rate_interval", "1m")
    assert set(re.findall(r"\$(\w+)", expression)) <= known
    return re.sub(r"\$\w+", ".*", expression)


@pytest.fixture(scope="module")
def prometheus(
    start_proxy: StartProxy, provider_server: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusServer]:
    """Scrapes a proxy whose requests were answered well and badly, rescued, and refused."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    provider_server.control.reset()
    config = {
        "model_list": fleet(provider_server, GROUP, input_cost_per_token=1e-6, output_cost_per_token=1e-6),
        "litellm_settings": {"callbacks": ["prometheus", CALLBACK]},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "exacto_settings": {"tiers": QUICK, "rescue": {"enabled": True}},
    }
    proxy = start_proxy(config)
    with PrometheusServer(tmp_path_factory.mktemp("prometheus"), proxy.base_url, MASTER_KEY) as server:

        def traffic(**more: Any) -> None:
            provider_server.control.behave(f"{GROUP}-{BAD}", always=Act.INVALID_JSON)
            for _ in range(4):
                ask(proxy.client(), GROUP, **more)
            for name in names(GROUP, *GOOD):
                provider_server.control.behave(name, next=[Act.INVALID_JSON, 500])
            for _ in range(4):
                with suppress(openai.APIStatusError):
                    ask(proxy.client(), GROUP, **more)
            for name in names(GROUP, *GOOD):
                provider_server.control.behave(name, next=[])
            with pytest.raises(openai.NotFoundError):
                ask(proxy.client(), GROUP, extra_body={"provider": {"only": ["nobody"]}})

        # Without tiers yet: the new one must not get enough answers for one.
        traffic(extra_body={"provider": {"ignore": names(GROUP, NEW)}})
        eventually(lambda: bool(server.query("exacto_requests_total")), True)
        bring_about(proxy, provider_server, [GROUP])  # series of before and after this can be told apart
        traffic()
        scraped = 'sum(exacto_tier_transitions_total{exacto_tier="deranked"}) >= bool 1'
        eventually(lambda: [one["value"][1] for one in server.query(scraped)], ["1"])
        since = server.query("timestamp(exacto_feature_enabled)")[0]["value"][1]
        eventually(lambda: server.query("timestamp(exacto_feature_enabled)")[0]["value"][1] > since, True)
        yield server


def test_every_query_of_the_dashboard_gives_something(prometheus: PrometheusServer) -> None:
    """All of them are understood, and those of measured series have a result."""
    asked = queries()
    assert len(asked) > 40
    empty = {name: one for name, one in asked.items() if not prometheus.query(one)}
    for name, expression in empty.items():
        assert any(beginning in expression for beginning in NOT_MEASURED), (name, expression)


def test_the_variables_have_values(prometheus: PrometheusServer) -> None:
    """Each list of values asks for a series and a label that exist."""
    asked = [variable["definition"] for variable in BOARD["templating"]["list"] if variable["type"] == "query"]
    found = [re.fullmatch(r"label_values\((.*), (\w+)\)", one) for one in asked]
    assert [one is not None for one in found] == [True] * 3
    for one in found:
        assert one is not None
        series = prometheus.query(_filled(one[1]))
        assert all(result["metric"][one[2]] for result in series)
        assert series


def test_the_alerts_are_evaluated(prometheus: PrometheusServer) -> None:
    """Prometheus takes all rules, evaluates them without an error, and the deranked deployment's fires."""

    def rules() -> dict[str, dict[str, Any]]:
        return {rule["name"]: rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]}

    eventually(lambda: {rule["health"] for rule in rules().values()}, {"ok"})
    assert len(rules()) == 13
    eventually(lambda: rules()["ExactoDeploymentDeranked"]["state"], "firing")
    (fired,) = rules()["ExactoDeploymentDeranked"]["alerts"]
    assert fired["annotations"]["summary"] == f"{GROUP}-{BAD} of {GROUP} is deranked"
    assert "exacto why" in fired["annotations"]["runbook"]
    eventually(lambda: rules()["ExactoRequestsRefused"]["state"], "firing")
    assert rules()["ExactoSeriesMissing"]["state"] == "inactive"


def test_every_alert_passes_its_unit_test() -> None:
    """Quiet before, firing after, with its summary and runbook: promtool runs alerts_test.yml."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    command = ["promtool", "test", "rules", "alerts_test.yml"]
    ran = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    names_of_alerts = set(re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text(encoding="utf-8")))
    tested = (MONITORING / "alerts_test.yml").read_text(encoding="utf-8")
    assert {one for one in names_of_alerts if f"alertname: {one}" not in tested} == set()
