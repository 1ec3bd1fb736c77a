"""Engine for programs with threads: each method holds a lock.

Within one event loop the lock is never contended, because no task waits while holding it. Between two slices of a
recompute it is released, so that a request in another thread waits for at most one slice. Adds no other behaviour.
"""

from __future__ import annotations

import threading
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from exacto_plugin.core.engine.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exacto_plugin.core.model import Snapshot
    from exacto_plugin.core.tiers.columns import Preset

Method = TypeVar("Method", bound="Callable[..., Any]")


def _locked(method: Method) -> Method:
    @wraps(method)
    def locked(self: LockedEngine, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return cast("Method", locked)


class LockedEngine(Engine):
    """Thread-safe engine; arguments as those of :class:`Engine`."""

    # Created in ``__new__``, because the base's constructor may call methods that are overridden here.
    lock: threading.RLock

    def __new__(cls, *_args: object, **_kwargs: object) -> LockedEngine:
        """Create an engine with its lock."""
        made = super().__new__(cls)
        made.lock = threading.RLock()
        return made

    groups = _locked(Engine.groups)
    observe_peers = _locked(Engine.observe_peers)
    restart = _locked(Engine.restart)
    dump = _locked(Engine.dump)
    load = _locked(Engine.load)
    copy_windows = _locked(Engine.copy_windows)
    restore_windows = _locked(Engine.restore_windows)
    add_deltas = _locked(Engine.add_deltas)
    adopt = _locked(Engine.adopt)
    share_probes = _locked(Engine.share_probes)
    # Not locked, because encoding and decoding bytes takes longer than the rest.
    dump_windows = Engine.dump_windows
    load_windows = Engine.load_windows
    observe_scores = _locked(Engine.observe_scores)
    watch = _locked(Engine.watch)
    watched = _locked(Engine.watched)
    record = _locked(Engine.record)
    add = _locked(Engine.add)
    decide = _locked(Engine.decide)

    @property
    def rule(self) -> Preset:
        """The preset in force."""
        return self._preset

    @rule.setter
    def rule(self, preset: Preset) -> None:
        with self.lock:
            Engine.rule.fset(self, preset)  # type: ignore[attr-defined]  # a property's setter has no other name

    def recompute(self, now: float) -> Snapshot:
        """Recompute all verdicts; the lock is released between slices."""
        for _ in self.recompute_slices(now):
            pass
        return self.snapshot

    def recompute_slices(self, now: float) -> Iterator[None]:
        """Recompute all verdicts in slices, each under the lock."""
        return self._in_slices(super().recompute_slices(now))

    def age(self, now: float) -> Iterator[None]:
        """Expire samples in slices, each under the lock."""
        return self._in_slices(super().age(now))

    def _in_slices(self, slices: Iterator[None]) -> Iterator[None]:
        while True:
            with self.lock:
                try:
                    next(slices)
                except StopIteration:
                    return
            yield
