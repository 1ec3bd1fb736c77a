"""Runs the properties of :mod:`tests.fuzz` again and again, each in its turn, and keeps what breaks them."""

from __future__ import annotations

import functools
import importlib
import os
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings

from tests.fuzz.examples import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

_ROUND = 400
"""Examples between two looks at the clock; every round begins with another seed."""

SLOWEST_S = 3.0
"""Processor time of one example beyond which it is a finding. The slowest calls that scoring allows take 0.2 s, and an
example makes a handful of them; the first one of a target loads what it needs."""


class TooSlowError(AssertionError):
    """An example took longer than ``SLOWEST_S``."""


@dataclass
class Target:
    """One property and what came of it."""

    name: str
    run: Callable[[], None]
    examples: int = 0
    rounds: int = 0
    wall_s: float = 0.0
    slowest_s: float = 0.0
    finding: str = ""
    """What hypothesis says about the smallest example that breaks it."""
    _warm: bool = field(default=False, repr=False)

    def watch(self, inner: Callable[..., None]) -> Callable[..., None]:
        """``inner``, counted and timed."""

        @functools.wraps(inner)
        def watched(*args: Any, **kwargs: Any) -> None:
            began = time.thread_time()
            try:
                inner(*args, **kwargs)
            finally:
                took = time.thread_time() - began
                self.examples += 1
            if self._warm:
                self.slowest_s = max(self.slowest_s, took)
                if took > SLOWEST_S:
                    raise TooSlowError(f"{took:.1f} s of processor time")
            self._warm = True

        return watched

    def round(self) -> None:
        """One round; a target with a finding has no further ones."""
        began = time.monotonic()
        try:
            self.run()
        except Exception:  # the whole purpose: whatever breaks a property is a finding
            self.finding = traceback.format_exc(limit=-6)
        self.rounds += 1
        self.wall_s += time.monotonic() - began


def found_targets(only: str = "") -> list[Target]:
    """Every property of :mod:`tests.fuzz` whose name contains ``only``."""
    os.environ[EXAMPLES] = str(_ROUND)
    settings.register_profile(
        "soak", deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck)
    )
    settings.load_profile("soak")
    targets: list[Target] = []
    for file in sorted((Path(__file__).parents[1] / "fuzz").glob("test_*.py")):
        module = importlib.import_module(f"tests.fuzz.{file.stem}")
        for name, value in vars(module).items():
            if getattr(value, "is_hypothesis_test", False) and only in f"{file.stem}.{name}":
                target = Target(f"{file.stem.removeprefix('test_')}.{name.removeprefix('test_')}", value)
                value.hypothesis.inner_test = target.watch(value.hypothesis.inner_test)
                targets.append(target)
    return targets


def run_targets(targets: list[Target], seconds: float, say: Callable[[str], None]) -> None:
    """Run them for about so long, whoever had least time next; findings are said as they come."""
    ends = time.monotonic() + seconds
    spoke = time.monotonic()
    while time.monotonic() < ends and (waiting := [target for target in targets if not target.finding]):
        target = min(waiting, key=lambda one: one.wall_s)
        target.round()
        if target.finding:
            say(f"FINDING in {target.name}\n{target.finding}")
        if time.monotonic() - spoke > 300:
            spoke = time.monotonic()
            say(f"{sum(one.examples for one in targets):,} examples so far")
