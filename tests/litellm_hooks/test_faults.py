"""Faults: counted, said once a minute per cause without quoting anything, and never in the way."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from exacto_plugin.errors import SettingsError
from exacto_plugin.litellm_hooks.faults import FaultReporter, fail_open
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, no_endpoints

REFUSAL = ExactoRefusedError(no_endpoints("g", "curated", ["a"], ()), "g")
SECRET = "the prompt of somebody"


class Clock:
    """Seconds that a test moves by itself."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Hooks:
    """An object with guarded hooks, as the callback is one."""

    def __init__(self, faults: FaultReporter) -> None:
        self.faults = faults

    @fail_open("plain")
    async def plain(self, value: int) -> int:
        """Divides."""
        return 10 // value

    @fail_open("kept", otherwise=lambda _self, value: value)
    async def kept(self, value: int) -> float:
        """Divides, else gives back what it was given."""
        return 10 / value

    @fail_open("worse", otherwise=lambda _self, value: 1 // value)
    async def worse(self, value: int) -> float:
        """Divides, and fails to say what else."""
        return 10 / value

    @fail_open("refusing")
    async def refusing(self) -> None:
        """Refuses."""
        raise REFUSAL


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def faults(clock: Clock) -> FaultReporter:
    """Faults that count nowhere else."""
    return FaultReporter(lambda _: None, clock)


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_fault_gives_what_was_asked_for_instead(faults: FaultReporter) -> None:
    """What fails is counted under its stage, and the caller gets the other value."""
    assert faults.guard("a", lambda: 1 // 0, 7) == 7
    assert faults.guard("a", lambda: 5, 7) == 5
    assert faults.guard("b", lambda: int("x"), 0) == 0
    assert faults.counts == {"a": 1, "b": 1}


async def test_a_hook_fails_open(faults: FaultReporter) -> None:
    """A hook gives None, or what it names for the case; when that fails as well, None."""
    hooks = Hooks(faults)
    assert (await hooks.plain(5), await hooks.plain(0)) == (2, None)
    assert (await hooks.kept(5), await hooks.kept(0)) == (2.0, 0)
    assert await hooks.worse(0) is None
    assert faults.counts == {"plain": 1, "kept": 1, "worse": 2}


async def test_a_refusal_passes(faults: FaultReporter) -> None:
    """What the client is to be told is no fault."""
    with pytest.raises(ExactoRefusedError):
        await Hooks(faults).refusing()
    with pytest.raises(ExactoRefusedError):
        faults.guard("a", lambda: (_ for _ in ()).throw(REFUSAL), None)
    assert faults.counts == {}


def test_each_cause_is_said_once_a_minute(
    faults: FaultReporter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The log gets a line per stage and kind of error and minute, however often it happens; each one counts."""
    for second in range(0, 180, 10):
        clock.now = second
        for stage, error in (("a", ValueError(second)), ("a", KeyError(second)), ("b", ValueError(second))):
            faults.report(stage, error)
    assert faults.counts == {"a": 36, "b": 18}
    said = [record.getMessage().splitlines()[0] for record in caplog.records]
    assert sorted(said) == sorted(
        3
        * [
            "exacto_plugin skipped a step: a failed with ValueError",
            "exacto_plugin skipped a step: a failed with KeyError",
            "exacto_plugin skipped a step: b failed with ValueError",
        ]
    )
    assert {(record.name, record.levelno) for record in caplog.records} == {("exacto_plugin", logging.WARNING)}


def test_nothing_is_quoted(faults: FaultReporter, caplog: pytest.LogCaptureFixture) -> None:
    """A line says where it happened and what kind of error it was, also of what caused it, and no more."""
    cause = _raised(KeyError(SECRET))
    error = ValueError(SECRET)
    error.__cause__ = cause
    faults.report("a", _raised(error))
    (record,) = caplog.records
    assert SECRET not in caplog.text
    assert "test_faults.py" in record.getMessage()
    assert "caused by KeyError" in record.getMessage()


def test_our_own_errors_are_quoted(faults: FaultReporter, caplog: pytest.LogCaptureFixture) -> None:
    """Messages that we wrote ourselves, such as those on settings, are for the operator to read."""
    faults.report("settings", _raised(SettingsError("mode: got 'x', expected apply, observe or off")))
    assert "SettingsError: mode: got 'x'" in caplog.text


def test_a_broken_metric_is_a_fault_too(clock: Clock) -> None:
    """When the metric that counts faults fails, the fault is counted all the same, and so is the metric's."""

    def count(stage: str) -> None:
        raise OSError(stage)

    faults = FaultReporter(count, clock)
    assert faults.guard("a", lambda: 1 // 0, 7) == 7
    assert faults.counts == {"a": 1, "telemetry": 1}


def test_memory_is_bounded(faults: FaultReporter) -> None:
    """However many kinds of error there are, only the latest few hundred are remembered."""
    for number in range(5000):
        faults.report("a", type(f"Error{number}", (Exception,), {})())
    assert len(faults._logged_at) <= 256
    assert faults.counts == {"a": 5000}


def test_threads_lose_nothing(faults: FaultReporter) -> None:
    """Metrics are read in threads of their own; no fault of theirs is lost."""

    def work() -> None:
        for _ in range(2000):
            faults.report("a", ValueError())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults.counts["a"] == 8000


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_stopping_is_no_fault(faults: FaultReporter, stop: type[BaseException]) -> None:
    """What ends a process or a task is never caught."""

    def action() -> Any:
        raise stop

    with pytest.raises(stop):
        faults.guard("a", action, None)
    assert faults.counts == {}
