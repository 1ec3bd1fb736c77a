"""The engine for programs with threads: everything that changes it holds its lock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.engine.locked import LockedEngine
from exacto_plugin.core.engine.state import EngineState
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from tests.support.samples import START, answer

if TYPE_CHECKING:
    from collections.abc import Callable

READ_AT_ONCE = {"snapshot", "measured", "transitions", "dropped"}
"""What is one reference or one number, replaced in one assignment."""

PUBLIC = sorted(name for kind in (Engine, EngineState) for name in vars(kind) if not name.startswith("_"))


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in READ_AT_ONCE])
def test_every_method_is_locked(name: str) -> None:
    """A method that the engine gains is one that the shared engine must have."""
    assert name in vars(LockedEngine), f"{name} is not locked"


PATIENCE_S = 20.0


def _waits(action: Callable[[], object], engine: LockedEngine, patience_s: float = 0.05) -> bool:
    """Whether ``action`` waits for the lock; ``patience_s`` is how long it may take if it does not."""
    begun, done = threading.Event(), threading.Event()

    def act() -> None:
        begun.set()
        action()
        done.set()

    with engine.lock:
        thread = threading.Thread(target=act)
        thread.start()
        begun.wait()
        waited = not done.wait(patience_s)
    thread.join()
    return waited


def test_threads_wait_for_each_other() -> None:
    """What changes the engine waits; what only reads the snapshot does not."""
    engine = LockedEngine(OpenRouterParameters())
    engine.observe_peers("g", ["a"], START)
    assert _waits(lambda: engine.record(answer()), engine)
    assert _waits(lambda: engine.recompute(START), engine)
    assert not _waits(lambda: engine.snapshot, engine, PATIENCE_S)


def test_it_judges_as_the_engine_does() -> None:
    """The same samples give the same verdicts, and between slices others get their turn."""
    plain, shared = Engine(OpenRouterParameters()), LockedEngine(OpenRouterParameters())
    for engine in (plain, shared):
        engine.observe_peers("g", ["a", "b"], START)
        for _ in range(3):
            engine.record(answer())
    slices = shared.recompute_slices(START)
    next(slices)
    assert not _waits(lambda: None, shared, PATIENCE_S)
    for _ in slices:
        pass
    assert dict(plain.recompute(START).groups) == dict(shared.snapshot.groups)
    shared.rule = OpenRouterParameters(min_peers=2)
    assert shared.rule == OpenRouterParameters(min_peers=2)
