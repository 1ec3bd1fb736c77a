"""The packages that callbacks for metrics need, checked before the proxy is started."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.cli.check_config import check_config
from exacto_plugin.litellm_hooks.checks.services import callback_package_problems

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = ("OTEL_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@pytest.fixture(autouse=True)
def _without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the packages for metrics."""

    for name in list(sys.modules):
        if name.split(".")[0] in ("prometheus_client", "opentelemetry"):
            monkeypatch.delitem(sys.modules, name)
    for name in ("prometheus_client", "opentelemetry"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("settings", "environment", "package"),
    [
        ({"callbacks": ["prometheus"]}, {}, "prometheus_client"),
        ({"callbacks": "prometheus"}, {}, "prometheus_client"),
        ({"success_callback": ["langfuse", "prometheus"]}, {}, "prometheus_client"),
        ({"callbacks": ["otel"]}, {}, "opentelemetry-sdk"),
        ({"callbacks": ["otel"]}, {"OTEL_ENDPOINT": "http://c"}, "opentelemetry-exporter-otlp-proto-http"),
        ({"callbacks": ["otel"]}, {"OTEL_EXPORTER": "grpc"}, "opentelemetry-exporter-otlp-proto-grpc"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], environment: dict[str, str], package: str
) -> None:
    """One problem, which says what to install."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (problem,) = callback_package_problems({"litellm_settings": settings})
    assert package in problem.partition("pip install ")[2].split()


def test_a_package_that_cannot_be_imported_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broken installation stops LiteLLM as a missing one does."""
    (tmp_path / "prometheus_client.py").write_text("raise ModuleNotFoundError('No module named prometheus_client')\n")
    monkeypatch.delitem(sys.modules, "prometheus_client")
    monkeypatch.syspath_prepend(str(tmp_path))
    (problem,) = callback_package_problems({"litellm_settings": {"callbacks": ["prometheus"]}})
    assert "pip install prometheus_client" in problem


@pytest.mark.parametrize("config", [{}, {"litellm_settings": None}, {"litellm_settings": {"callbacks": ["langfuse"]}}])
def test_other_callbacks_need_nothing_of_it(config: dict[str, Any]) -> None:
    """Only the callbacks for metrics are looked at."""
    assert callback_package_problems(config) == []


def test_check_config_tells_it(tmp_path: Path) -> None:
    """A proxy with this file would end with a ModuleNotFoundError."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "model_list: [{model_name: g, litellm_params: {model: openai/m, api_key: k}}]\n"
        "litellm_settings: {callbacks: [prometheus, exacto_plugin.callback]}\n"
    )
    (problem,) = check_config(file, connecting=False).problems
    assert "does not start: pip install prometheus_client" in problem
