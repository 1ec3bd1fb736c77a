"""Instruments that are read from the snapshot when metrics are collected."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from opentelemetry.metrics import Observation

from exacto_plugin.core.model import Tier
from exacto_plugin.core.wire import to_wire
from exacto_plugin.telemetry import table
from exacto_plugin.telemetry.attributes import FEATURE, GROUP, SIGNAL, TIER, deployment_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import GroupSnapshot, Signal, Verdict
    from exacto_plugin.core.windows.observed import Observed
    from exacto_plugin.telemetry.meters import Guard, Meters
    from exacto_plugin.telemetry.table import Instrument

R = TypeVar("R")

_OBSERVED: Mapping[Instrument, Callable[[Observed], float | None]] = {
    table.TOKEN_BURN: lambda one: one.token_burn,
    table.QUEUE_TIME: lambda one: one.queue_s,
    table.THROUGHPUT_SPREAD: lambda one: one.throughput_spread,
}


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
        make: makes the instruments.
    """

    def __init__(self, source: TelemetrySource, make: Meters) -> None:
        self._source = source
        make.observe(table.TIERS, self._safe(self._tiers))
        make.observe(table.SAMPLES, self._safe(self._samples))
        make.observe(table.SNAPSHOT_AGE, self._safe(self._ages))
        make.observe(table.COMMON_CAUSE, self._safe(self._common_causes))
        make.observe(table.FEATURES, self._safe(self._features))
        for row, number in _OBSERVED.items():
            make.observe(row, self._safe(partial(self._observed, number)))
        for signal, row in table.SIGNALS.items():
            make.observe(row, self._safe(partial(self._signal, signal)))
        for (signal, part), row in table.REFERENCES.items():
            make.observe(row, self._safe(partial(self._reference, signal, part)))

    def _safe(self, observe: Callable[[], Iterator[Observation]]) -> Callable[[], Iterable[Observation]]:
        """Return ``observe`` as a callback that never raises.

        Metrics are read in threads of their own, while the event loop continues: the data read here are the snapshot,
        which is immutable, and mappings and tuples that are replaced as a whole.
        """

        def observed() -> Iterable[Observation]:
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
