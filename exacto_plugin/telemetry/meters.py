"""Creation of instruments: OpenTelemetry's, and their mirror for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from exacto_plugin.telemetry.table import ERRORS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from opentelemetry.metrics import CallbackOptions, Meter, Observation

    from exacto_plugin.telemetry.prometheus import PrometheusMirror
    from exacto_plugin.telemetry.table import Instrument

    Observe = Callable[[], Iterable[Observation]]
    Record = Callable[[float, Mapping[str, str]], None]

R = TypeVar("R")


class Guard(Protocol):
    """Counts and logs faults of the plugin."""

    def guard(self, stage: str, action: Callable[[], R], otherwise: R) -> R:
        """``action()``, or ``otherwise`` when it fails."""


class AddingInstrument(Protocol):
    """A counter."""

    def add(self, amount: float, attributes: Mapping[str, str]) -> None:
        """Add ``amount``, which is not negative."""


class RecordingInstrument(Protocol):
    """A histogram."""

    def record(self, amount: float, attributes: Mapping[str, str]) -> None:
        """Record one measurement."""


class _MirroredInstrument:
    """An instrument of OpenTelemetry, and its mirror, whose files may fail."""

    def __init__(self, measure: Record, mirror: Record, faults: Guard) -> None:
        self._measure, self._mirror, self._faults = measure, mirror, faults

    def add(self, amount: float, attributes: Mapping[str, str]) -> None:
        self._measure(amount, attributes)
        self._faults.guard("telemetry", lambda: self._mirror(amount, attributes), None)

    record = add


class _Unguarded:
    """No guard, for the counter of faults.

    The report of its own fault would count again, without end; the reporter itself catches that.
    """

    def guard(self, _stage: str, action: Callable[[], R], _otherwise: R) -> R:
        return action()


class Meters:
    """The maker of instruments.

    Args:
        meter: OpenTelemetry's.
        mirror: gets the same measurements; None where nothing serves it.
        faults: guards the mirror.
    """

    def __init__(self, meter: Meter, mirror: PrometheusMirror | None, faults: Guard) -> None:
        self._meter = meter
        self._mirror = mirror
        self._faults = faults

    def counter(self, row: Instrument) -> AddingInstrument:
        """Return a counter."""
        made = self._meter.create_counter(row.name, row.unit, row.description)
        if self._mirror is None:
            return made
        return _MirroredInstrument(made.add, self._mirror.counter(row), _Unguarded() if row is ERRORS else self._faults)

    def histogram(self, row: Instrument) -> RecordingInstrument:
        """Return a histogram with the row's bounds as advice to the provider."""
        made = self._meter.create_histogram(
            row.name, row.unit, row.description, explicit_bucket_boundaries_advisory=row.buckets
        )
        if self._mirror is None:
            return made
        return _MirroredInstrument(made.record, self._mirror.histogram(row), self._faults)

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
