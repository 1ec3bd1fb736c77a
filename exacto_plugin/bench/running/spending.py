"""Costs of an invocation, added to the month in the store, also after a crash."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.bench.isolated.costs import spent_in
from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exacto_plugin.bench.running.shared import BenchmarkState

_EACH_S = 5.0


def limit_of(max_usd: float | None, monthly_usd: float | None, shared: BenchmarkState) -> float | None:
    """Return the USD that may be spent now: the smaller of both limits.

    Raises:
        ExactoError: the month's is spent.
    """
    if monthly_usd is None:
        return max_usd
    left = monthly_usd - shared.spent()
    if left <= 0:
        raise ExactoError(f"this month's {monthly_usd:.2f} USD are spent")
    return left if max_usd is None else min(max_usd, left)


@contextmanager
def counting(costs: Path, shared: BenchmarkState) -> Iterator[None]:
    """Add costs to the month every few seconds, and at the end.

    A file beside the costs says how much is added already.
    """
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(_EACH_S):
            with suppress(SQLAlchemyError, OSError):  # the next time, or at the end
                _add(costs, shared)

    thread = threading.Thread(target=loop, name="exacto-bench-costs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _add(costs, shared)
        _forget(costs)


def add_leftovers(root: Path, shared: BenchmarkState) -> None:
    """Add the costs of invocations that crashed, by their files in a directory."""
    for costs in root.glob("costs-*.jsonl"):
        _add(costs, shared)
        _forget(costs)


def _add(costs: Path, shared: BenchmarkState) -> None:
    added = costs.with_suffix(".added")
    before = float(added.read_text()) if added.exists() else 0.0
    spent = spent_in(costs)
    if spent > before:
        shared.spend(spent - before)
        added.write_text(repr(spent))


def _forget(costs: Path) -> None:
    costs.unlink(missing_ok=True)
    costs.with_suffix(".added").unlink(missing_ok=True)
