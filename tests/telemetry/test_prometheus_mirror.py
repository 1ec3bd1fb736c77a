"""The mirror's series are those of OpenTelemetry's Prometheus exporter, never twice, in one process and in several."""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from exacto_plugin.litellm_hooks.monitoring.prometheus import prometheus_mirror
from exacto_plugin.telemetry import table
from exacto_plugin.telemetry.prometheus import PrometheusMirror
from tests.test_telemetry import count_everything, measured

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pytest

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]

_WORKER = """
import json, sys
from opentelemetry.metrics import Observation
from exacto_plugin.telemetry import table
from exacto_plugin.telemetry.prometheus import PrometheusMirror

mirror = PrometheusMirror(None)
told = json.loads(sys.argv[1])
mirror.counter(table.REQUESTS)(2, {"exacto.request.outcome": "valid"})
mirror.histogram(table.ROUTING_DURATION)(0.0002, {"exacto.routing.outcome": "reordered"})
mirror.observe(table.TIERS, lambda: [Observation(1, one) for one in told["tiers"]])
mirror.observe(table.SNAPSHOT_AGE, lambda: [Observation(7.0, one) for one in told["tiers"]])
mirror.write()
told["tiers"] = []
if told["ends"]:
    mirror.write()
"""

_WITHOUT_FILES = """
from exacto_plugin.telemetry.prometheus import PrometheusMirror
from tests.test_telemetry import measured

bench = measured(mirror=PrometheusMirror(None))
for name in ("curated", None):
    bench.runtime.context.telemetry.refusal("kimi", name)
bench.runtime.context.telemetry.recomputed(0.01, None)
print(sum(value for _, value in bench.points("exacto.refusals")), bench.runtime.context.faults.counts["telemetry"])
"""


def reader_in(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> PrometheusMetricReader:
    """OpenTelemetry's reader; old ones know the global registry only."""
    if "registry" in inspect.signature(PrometheusMetricReader).parameters:
        return PrometheusMetricReader(registry=registry)
    monkeypatch.setattr("opentelemetry.exporter.prometheus.REGISTRY", registry)
    return PrometheusMetricReader()


def series(registry: CollectorRegistry) -> Series:
    """Every series by name and labels; without those that OpenTelemetry adds about itself."""
    found: Series = {}
    for metric in registry.collect():
        for sample in metric.samples:
            labels = {
                name: str(float(value)) if name == "le" else value
                for name, value in sample.labels.items()
                if value and not name.startswith("otel_scope_")
            }
            if not sample.name.startswith("target"):
                found[sample.name, tuple(sorted(labels.items()))] = sample.value
    return found


def test_the_series_are_those_of_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, labels and values: dashboards work with both."""
    exported, mirrored = CollectorRegistry(), CollectorRegistry()
    provider = MeterProvider([reader_in(exported, monkeypatch)], shutdown_on_exit=False)
    bench = measured(provider, PrometheusMirror(mirrored))
    count_everything(bench.runtime)
    theirs, ours = series(exported), series(mirrored)
    assert len(ours) > 150
    assert ours.keys() == theirs.keys()
    assert {key: value for key, value in ours.items() if not math.isclose(value, theirs[key])} == {}


def test_a_reader_of_opentelemetry_in_the_same_registry_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """No series stands twice in one scrape, whichever was registered first."""
    for mirror_first in (True, False):
        registry = CollectorRegistry(auto_describe=True)
        first = PrometheusMirror(registry) if mirror_first else None
        provider = MeterProvider([reader_in(registry, monkeypatch)], shutdown_on_exit=False)
        mirror = first or PrometheusMirror(registry)
        bench = measured(provider, mirror)
        count_everything(bench.runtime)
        names = [
            (sample.name, tuple(sorted(sample.labels.items())))
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name.startswith("exacto_")
        ]
        assert names
        assert len(names) == len(set(names))
        assert list(mirror.collect()) == []


def _told(directory: Path) -> Series:
    """What LiteLLM's endpoint makes of the files."""
    program = (
        "import sys; from prometheus_client import CollectorRegistry, generate_latest, multiprocess;"
        "registry = CollectorRegistry(); multiprocess.MultiProcessCollector(registry, sys.argv[1]);"
        "sys.stdout.buffer.write(generate_latest(registry))"
    )
    text = subprocess.check_output([sys.executable, "-c", program, str(directory)], text=True)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _work(directory: Path, tiers: Iterable[dict[str, str]], *, ends: bool = False) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    argument = json.dumps({"tiers": list(tiers), "ends": ends})
    subprocess.run([sys.executable, "-c", _WORKER, argument], env=environment, check=True)


def test_workers_are_added_up_and_agree(tmp_path: Path) -> None:
    """Counters and histograms add up; of what is observed there is one series; what is gone is not told as there."""
    kept = {"exacto.model_group": "kimi", "exacto.deployment.id": "a", "exacto.tier": "deranked"}
    gone = {**kept, "exacto.deployment.id": "b"}
    _work(tmp_path, [kept, gone], ends=True)
    _work(tmp_path, [kept])
    told = _told(tmp_path)
    assert told["exacto_requests_total", (("exacto_request_outcome", "valid"),)] == 4
    assert told["exacto_routing_duration_seconds_count", (("exacto_routing_outcome", "reordered"),)] == 2
    tiers = {dict(labels)["exacto_deployment_id"]: v for (name, labels), v in told.items() if "_tier" in name}
    assert tiers == {"a": 1, "b": 0}
    ages = [value for (name, _), value in told.items() if name == "exacto_snapshot_age_seconds"]
    assert ages == [7.0]
    assert not any("pid" in dict(labels) for _, labels in told)


def test_a_group_that_is_gone_has_no_number(tmp_path: Path) -> None:
    """A gauge that is observed no more is NaN: files cannot lose a series."""
    _work(tmp_path, [{"exacto.model_group": "kimi"}], ends=True)
    ((_, value),) = [one for one in _told(tmp_path).items() if one[0][0] == "exacto_snapshot_age_seconds"]
    assert math.isnan(value)


def test_a_mirror_that_cannot_write_takes_nothing_with_it(tmp_path: Path) -> None:
    """The caller goes on, OpenTelemetry has the measurements, and the faults are counted."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "removed")}
    told = subprocess.check_output([sys.executable, "-c", _WITHOUT_FILES], env=environment, text=True)
    refusals, faults = map(int, told.split())
    assert refusals == 2
    assert faults > 2


def test_only_where_litellm_serves_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LiteLLM's callback nothing is mirrored."""
    monkeypatch.setattr("prometheus_client.REGISTRY", registry := CollectorRegistry())
    plain: list[Any] = [None, {}, {"litellm_settings": None}, {"litellm_settings": {"callbacks": "prometheus"}}]
    assert [prometheus_mirror(one) for one in plain] == [None] * 4
    for name in ("callbacks", "success_callback"):
        mirror = prometheus_mirror({"litellm_settings": {name: ["otel", "prometheus"]}})
        assert mirror is not None
        assert not mirror.is_written
        mirror.observe(table.SNAPSHOT_AGE, lambda: [Observation(1.0, {"exacto.model_group": "kimi"})])
        assert len(series(registry)) == 1
        registry.unregister(mirror)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nonexistent")
    files = prometheus_mirror({"litellm_settings": {"callbacks": ["prometheus"]}})
    assert files is not None
    assert files.is_written
