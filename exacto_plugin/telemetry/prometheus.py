"""The instruments as metrics of ``prometheus_client``, for LiteLLM's ``/metrics``.

Names and labels are those of OpenTelemetry's Prometheus exporter. LiteLLM serves the registry of the process, or with
``PROMETHEUS_MULTIPROC_DIR`` the files that all workers write: there counters and histograms of the workers are added
up, and of gauges the value that was written last is served, because workers that share verdicts observe the same.
"""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.telemetry.table import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.metrics import Observation
    from prometheus_client import Gauge
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

    from exacto_plugin.telemetry.table import Instrument

_UNITS: Final = {"s": "seconds", "{token}/s": "per_second", "USD": "USD"}
"""Units that become part of a name; ``1`` and those in braces do not."""

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9]+")

_EXPORTER = "opentelemetry.exporter.prometheus"


def is_multiprocess() -> bool:
    """Return whether LiteLLM serves the files of all workers instead of a registry."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ


def series_name(row: Instrument) -> str:
    """Return the name of an instrument's series.

    The suffixes of counters and histograms follow it.
    """
    unit = _UNITS.get(row.unit)
    name = _NOT_IN_NAMES.sub("_", row.name)
    return name if unit is None else f"{name}_{unit}"


def _labels(row: Instrument) -> list[str]:
    return [_NOT_IN_NAMES.sub("_", attribute) for attribute in row.attributes]


def _values(row: Instrument, attributes: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the labels' values.

    A missing attribute is empty, which Prometheus treats as a missing label.
    """
    known = attributes or {}
    return tuple([str(known.get(attribute, "")) for attribute in row.attributes])


class _Series:
    """The series of one metric, none of which is ever removed.

    They are kept here as well, because ``prometheus_client`` takes 1.5 us longer to find one.
    """

    def __init__(self, row: Instrument, made: Any) -> None:
        self._row = row
        self._made = made
        self._known: dict[tuple[str, ...], Any] = {}

    def of(self, attributes: Mapping[str, str]) -> Any:
        """Return the series with some attributes, created when it is missing."""
        values = _values(self._row, attributes)
        found = self._known.get(values)
        if found is None:
            found = self._known[values] = self._made.labels(*values)
        return found


class PrometheusMirror:
    """The metrics of one process. Thread-safe, like ``prometheus_client``.

    Args:
        registry: gets the metrics as one collector; None: nothing is registered, and ``write`` brings the observed
            values into the files of several processes.

    Raises:
        ImportError: ``prometheus_client`` is not installed.
    """

    def __init__(self, registry: CollectorRegistry | None) -> None:
        import prometheus_client

        self._client = prometheus_client
        self._registry = registry
        self._measured: list[Any] = []
        self._observed: list[tuple[Instrument, Callable[[], Iterable[Observation]]]] = []
        self._gauges: dict[str, Gauge] = {}
        self._written: dict[str, set[tuple[str, ...]]] = {}
        if registry is not None:
            registry.register(self)

    @property
    def is_written(self) -> bool:
        """True when observed values reach LiteLLM's endpoint through ``write``."""
        return self._registry is None

    # --- instruments -----------------------------------------------------------------------------------------------

    def counter(self, row: Instrument) -> Callable[[float, Mapping[str, str]], None]:
        """Return a function that adds to a counter."""
        # Without a registry: in several processes their files are read, in one process `collect` below serves it.
        made = self._client.Counter(series_name(row), row.description, _labels(row), registry=None)
        self._measured.append(made)
        series = _Series(row, made)
        return lambda amount, attributes: series.of(attributes).inc(amount)

    def histogram(self, row: Instrument) -> Callable[[float, Mapping[str, str]], None]:
        """Return a function that records into a histogram."""
        made = self._client.Histogram(
            series_name(row), row.description, _labels(row), registry=None, buckets=row.buckets
        )
        self._measured.append(made)
        series = _Series(row, made)
        return lambda amount, attributes: series.of(attributes).observe(amount)

    def observe(self, row: Instrument, observe: Callable[[], Iterable[Observation]]) -> None:
        """Read ``observe``, which must not raise, at each collection."""
        self._observed.append((row, observe))

    # --- one process: a collector of the registry ------------------------------------------------------------------

    def describe(self) -> Iterable[Metric]:
        """Reserve no name in the registry.

        A reader of OpenTelemetry that an operator registers there has the same names; see ``collect``.
        """
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric.

        Yields nothing where a reader of OpenTelemetry in the same registry has them.
        """
        if _has_exporter(self._registry):
            return
        for made in self._measured:
            for metric in made.collect():
                # The time of creation, which the exporter does not have either, would double the number of series.
                metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
                yield metric
        for row, observe in self._observed:
            yield self._family(row, observe())

    def _family(self, row: Instrument, observations: Iterable[Observation]) -> Metric:
        from prometheus_client.metrics_core import GaugeMetricFamily

        family = GaugeMetricFamily(series_name(row), row.description, labels=_labels(row))
        for one in observations:
            family.add_metric(_values(row, one.attributes), one.value)
        return family

    # --- several processes: files that LiteLLM reads ---------------------------------------------------------------

    def write(self) -> None:
        """Write the observed values into the files of this process.

        A series cannot be removed there: one that is not observed any more becomes ``NaN``, a state 0.
        """
        for row, observe in self._observed:
            gauge = self._gauge(row)
            now = {_values(row, one.attributes): one.value for one in observe()}
            gone = 0.0 if row.kind is Kind.STATE else math.nan
            before = self._written.get(row.name, set())
            for values, value in (now | dict.fromkeys(before - now.keys(), gone)).items():
                gauge.labels(*values).set(value)
            self._written[row.name] = set(now)

    def _gauge(self, row: Instrument) -> Gauge:
        made = self._gauges.get(row.name)
        if made is None:
            made = self._gauges[row.name] = self._client.Gauge(
                series_name(row), row.description, _labels(row), registry=None, multiprocess_mode="livemostrecent"
            )
        return made


def _has_exporter(registry: CollectorRegistry | None) -> bool:
    """Return whether a Prometheus reader of OpenTelemetry is in the registry."""
    known = getattr(registry, "_collector_to_names", {})
    return any(type(one).__module__.startswith(_EXPORTER) for one in tuple(known))
