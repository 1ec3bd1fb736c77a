"""The packages that callbacks for metrics need, checked before the proxy is started."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.cli.check_config import check_config
from exacto_plugin.litellm_hooks.checks import services
from exacto_plugin.litellm_hooks.checks.services import callback_package_problems

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path

VARIABLES = ("OTEL_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@pytest.fixture(autouse=True)
def _without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the packages for metrics."""

    def found(name: str) -> ModuleSpec | None:
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError(name)  # as without the package that it is in
        return None if name in ("prometheus_client", "opentelemetry.sdk") else find_spec(name)

    monkeypatch.setattr(services, "find_spec", found)
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
