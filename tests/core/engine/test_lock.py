"""The engine's lock: what changes the engine holds it, and it is released between slices."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.core.engine import engine as engine_module
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Snapshot, Sort
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.routing.probe_budget import ProbeShare
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.core.windows.increments import CounterKind
from tests.support.samples import START, answer

if TYPE_CHECKING:
    from collections.abc import Callable

READ_AT_ONCE = {"snapshot", "measured", "transitions", "call_histories", "dropped", "change_detector", "deltas"}
"""What is one reference or one number, replaced in one assignment."""

REQUEST = RoutingRequest("g", (), Policy(Sort.AUTO), tools=True)

ACTIONS: dict[str, Callable[[Engine], object]] = {
    "rule": lambda engine: setattr(engine, "rule", OpenRouterParameters(min_peers=2)),
    "groups": lambda engine: engine.groups(),
    "observe_peers": lambda engine: engine.observe_peers(
        "g", [DeploymentKey("a")], START, fingerprints={DeploymentKey("a"): "f"}
    ),
    "observe_scores": lambda engine: engine.observe_scores("g", None),
    "restart": lambda engine: engine.restart("g", DeploymentKey("a"), START),
    "dump": lambda engine: engine.dump(),
    "load": lambda engine: engine.load({}),
    "copy_windows": lambda engine: engine.copy_windows("g"),
    "restore_windows": lambda engine: engine.restore_windows("g", {}),
    "dump_windows": lambda engine: engine.dump_windows("g"),
    "load_windows": lambda engine: engine.load_windows("g", {}),
    "adopt": lambda engine: engine.adopt(Snapshot("s", START), {}),
    "share_probes": lambda engine: engine.share_probes(ProbeShare()),
    "watch": lambda engine: engine.watch("g", START),
    "watched": lambda engine: engine.watched(START),
    "counts": lambda engine: engine.counts(answer()),
    "record": lambda engine: engine.record(answer()),
    "add": lambda engine: engine.add("g", DeploymentKey("a"), {CounterKind.CALLED: 1}, {}, START),
    "add_deltas": lambda engine: engine.add_deltas([]),
    "note_attempt": lambda engine: engine.note_attempt("g", DeploymentKey("a"), START),
    "busy": lambda engine: engine.busy("g", START),
    "decide": lambda engine: engine.decide(REQUEST, lambda: 0.5),
    "recompute": lambda engine: engine.recompute(START),
    "recompute_slices": lambda engine: list(engine.recompute_slices(START)),
    "age": lambda engine: list(engine.age(START)),
}
"""Each public method of the engine that needs its lock, called once."""


class CountingLock:
    """A lock that counts how often it was taken and how deeply it is held."""

    def __init__(self) -> None:
        self.taken = 0
        self.depth = 0

    def __enter__(self) -> None:
        self.taken += 1
        self.depth += 1

    def __exit__(self, *_error: object) -> None:
        self.depth -= 1


class StateUnderLock:
    """The state of an engine, which may only be reached while the lock is held."""

    def __init__(self, state: object, lock: CountingLock) -> None:
        self._state, self._lock = state, lock

    def __getattr__(self, name: str) -> object:
        # ``age`` returns an iterator that does nothing yet; its slices are counted below.
        assert self._lock.depth > 0 or name == "age", f"{name} is read without the lock"
        return getattr(self._state, name)


def test_every_method_is_listed() -> None:
    """A method that the engine gains is one that is tried here."""
    public = {name for name in vars(Engine) if not name.startswith("_")}
    assert public == ACTIONS.keys() | READ_AT_ONCE


@pytest.mark.parametrize("name", ACTIONS)
def test_a_method_holds_the_lock(name: str) -> None:
    """It reaches the state only under the lock, and leaves it free."""
    lock = CountingLock()
    engine = Engine(OpenRouterParameters(), lock=lock)
    engine._state = StateUnderLock(engine._state, lock)  # type: ignore[assignment]
    taken = lock.taken
    ACTIONS[name](engine)
    assert lock.taken > taken
    assert lock.depth == 0


def test_the_lock_is_free_while_bytes_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding and decoding take longer than the rest, so that others do not wait for them."""
    lock = CountingLock()
    engine = Engine(OpenRouterParameters(), lock=lock)
    engine.record(answer())
    depths: list[int] = []

    def observed(convert: Callable[[object], object]) -> Callable[[object], object]:
        def converted(one: object) -> object:
            depths.append(lock.depth)
            return convert(one)

        return converted

    for name in ("encode", "decode"):
        monkeypatch.setattr(engine_module, name, observed(getattr(engine_module, name)))
    engine.load_windows("g", engine.dump_windows("g"))
    assert depths == [0, 0]


def test_the_lock_is_free_between_slices() -> None:
    """A caller has it once per slice and once to find that there is no further one."""
    for slices_of in (Engine.recompute_slices, Engine.age):
        lock = CountingLock()
        engine = Engine(OpenRouterParameters(), lock=lock)
        engine.observe_peers("g", [DeploymentKey("a"), DeploymentKey("b")], START)
        taken = lock.taken
        depths = [lock.depth for _ in slices_of(engine, START)]
        assert depths == [0] * len(depths)
        assert depths
        assert lock.taken - taken == len(depths) + 1


def _waits(action: Callable[[], object], engine: Engine) -> bool:
    """Whether ``action`` waits for the lock."""
    done = threading.Event()

    def act() -> None:
        action()
        done.set()

    with engine.lock:
        thread = threading.Thread(target=act)
        thread.start()
        waited = not done.wait(0.05)
    thread.join()
    return waited


def test_threads_wait_for_each_other() -> None:
    """What changes the engine waits; what only reads the snapshot does not."""
    engine = Engine(OpenRouterParameters(), lock=threading.RLock())
    engine.observe_peers("g", [DeploymentKey("a")], START)
    assert _waits(lambda: engine.record(answer()), engine)
    assert _waits(lambda: engine.recompute(START), engine)
    assert not _waits(lambda: engine.snapshot, engine)


def test_the_lock_changes_no_verdict() -> None:
    """The same samples give the same snapshot with and without a lock."""
    plain, shared = Engine(OpenRouterParameters()), Engine(OpenRouterParameters(), lock=threading.RLock())
    for engine in (plain, shared):
        engine.observe_peers("g", [DeploymentKey("a"), DeploymentKey("b")], START)
        for _ in range(3):
            engine.record(answer())
    for _ in shared.recompute_slices(START):
        pass
    assert dict(plain.recompute(START).groups) == dict(shared.snapshot.groups)
