"""Instruments that are read from the snapshot when metrics are collected."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from opentelemetry.metrics import Observation

from exacto_plugin.core.model import Signal, Tier
from exacto_plugin.core.wire import to_wire
from exacto_plugin.telemetry.attributes import FEATURE, GROUP, SIGNAL, TIER, deployment_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.metrics import CallbackOptions, Meter

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import GroupSnapshot, Verdict
    from exacto_plugin.core.windows.observed import Observed

R = TypeVar("R")

_SIGNAL_INSTRUMENTS = {
    Signal.THROUGHPUT: ("throughput", "{token}/s"),
    Signal.TOOL_CALL_SUCCESS: ("tool_call_success", "1"),
    Signal.BENCHMARK: ("benchmark_score", "1"),
}
_OBSERVED_INSTRUMENTS: Mapping[str, tuple[str, str, Callable[[Observed], float | None]]] = {
    "token_burn": ("1", "Output tokens beyond the median of comparable requests.", lambda one: one.token_burn),
    "queue_time": ("s", "Time to the first token beyond the deployment's own.", lambda one: one.queue_s),
    "throughput_spread": ("1", "Standard deviation of the logarithm of speed.", lambda one: one.throughput_spread),
}


class Guard(Protocol):
    """Counts and logs faults of the plugin."""

    def guard(self, stage: str, action: Callable[[], R], otherwise: R) -> R:
        """``action()``, or ``otherwise`` when it fails."""


class LatestObserved(Protocol):
    """The newest observed metrics by model group and deployment; replaced as a whole."""

    latest: Mapping[tuple[str, str], Observed]


class TelemetrySource(Protocol):
    """The values that the instruments read."""

    @property
    def engine(self) -> Engine:
        """Its snapshot has the verdicts."""

    @property
    def faults(self) -> Guard:
        """Guards the collection of metrics."""

    @property
    def observed(self) -> LatestObserved:
        """Metrics that no tier follows from."""

    @property
    def providers(self) -> Mapping[str, str]:
        """Deployment key -> provider."""

    @property
    def features(self) -> Mapping[str, bool]:
        """Feature -> whether it is on with the installed LiteLLM."""

    def clock(self) -> float:
        """UTC seconds."""

    def knows_group(self, model_group: str) -> bool:
        """Return True if an operator configured this name."""


class SnapshotGauges:
    """Observable instruments of one runtime.

    Args:
        source: has the snapshot.
        meter: creates the instruments.
    """

    def __init__(self, source: TelemetrySource, meter: Meter) -> None:
        self._source = source
        meter.create_observable_up_down_counter(
            "exacto.deployment.tier", [self._safe(self._tiers)], "1", "1 for the tier a deployment is in, else 0."
        )
        meter.create_observable_up_down_counter(
            "exacto.window.sample.count", [self._safe(self._samples)], "{sample}", "Samples behind each signal."
        )
        meter.create_observable_gauge(
            "exacto.snapshot.age", [self._safe(self._ages)], "s", "Age of a model group's verdicts."
        )
        meter.create_observable_gauge(
            "exacto.common_cause",
            [self._safe(self._common_causes)],
            "1",
            "Rise of the failure rate at all deployments at once; 0 without one.",
        )
        meter.create_observable_up_down_counter(
            "exacto.feature.enabled", [self._safe(self._features)], "1", "1 for a feature that is on, else 0."
        )
        for name, (unit, description, number) in _OBSERVED_INSTRUMENTS.items():
            values = self._safe(partial(self._observed, number))
            meter.create_observable_gauge(f"exacto.observed.{name}", [values], unit, description)
        for signal, (name, unit) in _SIGNAL_INSTRUMENTS.items():
            values = self._safe(partial(self._signal, signal))
            meter.create_observable_gauge(f"exacto.signal.{name}", [values], unit, f"Measured {name}.")
            for part in ("median", "mad", "threshold"):
                values = self._safe(partial(self._reference, signal, part))
                meter.create_observable_gauge(
                    f"exacto.reference.{name}.{part}", [values], unit, f"{part} of the peers."
                )

    def _safe(self, observe: Callable[[], Iterator[Observation]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Return ``observe`` as a callback that never raises.

        Metrics are read in threads of their own, while the event loop continues: the data read here are the snapshot,
        which is immutable, and mappings and tuples that are replaced as a whole.
        """

        def observed(_: CallbackOptions) -> Iterable[Observation]:
            return self._source.faults.guard("telemetry", lambda: list(observe()), [])

        return observed

    def _features(self) -> Iterator[Observation]:
        for name, on in self._source.features.items():
            yield Observation(int(on), {FEATURE: name})

    def _groups(self) -> Iterator[tuple[str, GroupSnapshot]]:
        for name, group in self._source.engine.snapshot.groups.items():
            if self._source.knows_group(name):
                yield name, group

    def _verdicts(self) -> Iterator[tuple[Mapping[str, str], Verdict]]:
        for name, group in self._groups():
            for key, verdict in group.verdicts.items():
                # Whether the group is known is not checked again: the router may change meanwhile.
                yield deployment_attributes(name, key, self._source.providers.get(key, "")), verdict

    def _tiers(self) -> Iterator[Observation]:
        for attributes, verdict in self._verdicts():
            for tier in Tier:
                yield Observation(int(tier is verdict.tier), {**attributes, TIER: tier.value})

    def _samples(self) -> Iterator[Observation]:
        for attributes, verdict in self._verdicts():
            for signal, value in verdict.signals.items():
                yield Observation(value.samples, {**attributes, SIGNAL: signal.value})

    def _ages(self) -> Iterator[Observation]:
        now = self._source.clock()
        for name, group in self._groups():
            yield Observation(max(0.0, now - group.at), {GROUP: name})

    def _common_causes(self) -> Iterator[Observation]:
        for name, group in self._groups():
            cause = group.common_cause
            lasts = cause is not None and cause.end is None
            yield Observation((cause.value or 0.0) if cause is not None and lasts else 0.0, {GROUP: name})

    def _signal(self, signal: Signal) -> Iterator[Observation]:
        for attributes, verdict in self._verdicts():
            value = verdict.signals.get(signal)
            if value is not None and value.value is not None:
                yield Observation(value.value, attributes)

    def _observed(self, number: Callable[[Observed], float | None]) -> Iterator[Observation]:
        for (group, key), numbers in self._source.observed.latest.items():
            value = number(numbers)
            if value is not None and self._source.knows_group(group):
                yield Observation(value, deployment_attributes(group, key, self._source.providers.get(key, "")))

    def _reference(self, signal: Signal, part: str) -> Iterator[Observation]:
        for name, group in self._groups():
            reference = group.references.get(signal)
            value = None if reference is None else to_wire(reference)[part]
            if value is not None:
                yield Observation(value, {GROUP: name})
