"""Creation of instruments: OpenTelemetry's, and their mirror for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from exacto_plugin.telemetry.table import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from exacto_plugin.telemetry.prometheus import PrometheusMirror
    from exacto_plugin.telemetry.table import Instrument

    Observe = Callable[[], Iterable[Observation]]
    Record = Callable[[float, Mapping[str, str]], None]


class AddingInstrument(Protocol):
    """A counter."""

    def add(self, amount: float, attributes: Mapping[str, str]) -> None:
        """Add ``amount``, which is not negative."""


class RecordingInstrument(Protocol):
    """A histogram."""

    def record(self, amount: float, attributes: Mapping[str, str]) -> None:
        """Record one measurement."""


class _MirroredInstrument:
    """An instrument of OpenTelemetry, and its mirror."""

    def __init__(self, measure: Record, mirror: Record) -> None:
        self._measure, self._mirror = measure, mirror

    def add(self, amount: float, attributes: Mapping[str, str]) -> None:
        self._measure(amount, attributes)
        self._mirror(amount, attributes)

    record = add


class Meters:
    """The maker of instruments.

    Args:
        meter: OpenTelemetry's.
        mirror: gets the same measurements; None where nothing serves it.
    """

    def __init__(self, meter: Meter, mirror: PrometheusMirror | None) -> None:
        self._meter = meter
        self._mirror = mirror

    def counter(self, row: Instrument) -> AddingInstrument:
        """Return a counter."""
        made = self._meter.create_counter(row.name, row.unit, row.description)
        return made if self._mirror is None else _MirroredInstrument(made.add, self._mirror.counter(row))

    def histogram(self, row: Instrument) -> RecordingInstrument:
        """Return a histogram with the row's bounds as advice to the provider."""
        made = self._meter.create_histogram(
            row.name, row.unit, row.description, explicit_bucket_boundaries_advisory=row.buckets
        )
        return made if self._mirror is None else _MirroredInstrument(made.record, self._mirror.histogram(row))

    def observe(self, row: Instrument, observe: Observe) -> None:
        """Create an instrument that is read at each collection.

        Args:
            row: of the kinds ``STATE`` and ``GAUGE``.
            observe: returns the values; must not raise.
        """

        def observed(_: CallbackOptions) -> Iterable[Observation]:
            return observe()

        if row.kind is Kind.STATE:
            self._meter.create_observable_up_down_counter(row.name, [observed], row.unit, row.description)
        else:
            self._meter.create_observable_gauge(row.name, [observed], row.unit, row.description)
        if self._mirror is not None:
            self._mirror.observe(row, observe)
