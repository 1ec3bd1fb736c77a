"""Benchmark scores of the store, for the engine.

They are read again when runs were added, and judged again once an hour.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import func, select

from exacto_plugin.benchmark_scores.signal import BASELINE_S, NO_SCORES, paired_scores, published_scores
from exacto_plugin.benchmark_scores.standings import WINDOW_S
from exacto_plugin.benchmark_scores.verifier import findings_of
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.records import LEAST_DAYS, BenchmarkRecord, RecordKind, VerifierRecord
from exacto_plugin.store.rows import find
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.store.store import Store

R = TypeVar("R", BenchmarkRecord, VerifierRecord)

AGAIN_S = 3600.0
"""Seconds after which scores are computed again without new runs, since old ones leave the window."""

_BOUND_S = 1.0
"""Seconds that a recompute waits for the store at most."""

KEPT_S = LEAST_DAYS[RecordKind.BENCHMARK_SCORES] * 86_400.0


class BenchmarkSource:
    """Reader of the benchmark runs in the store. One per process.

    Args:
        store: of this process.
        clock: UTC seconds.
        references: by model group, the deployment that the others are compared with; called at each reading.
    """

    def __init__(self, store: Store, clock: Callable[[], float], references: Callable[[], Mapping[str, str]]) -> None:
        self._store = store
        self._clock = clock
        self._references = references
        self._runs: dict[str, list[BenchmarkRecord]] = {}
        self._replays: dict[str, list[VerifierRecord]] = {}
        self._mark: tuple[Any, ...] = ()
        self._key: tuple[Any, ...] = ()
        self._scores: dict[str, BenchmarkScores | None] = {}

    async def read(self) -> None:
        """Read the runs on record, if any were added.

        Raises:
            StoreError: not possible now; those read before are kept.
        """
        if self._store.location is None:
            return
        # The writing thread has created the tables, which a reader of a new store would miss.
        mark = await self._store.work(_mark, _BOUND_S)
        if mark != self._mark:
            since = self._clock() - KEPT_S
            self._runs = await self._store.work(lambda connection: runs_since(connection, since), _BOUND_S)
            self._replays = await self._store.work(lambda connection: replays_since(connection, since), _BOUND_S)
            self._mark = mark

    def observe(self, engine: Engine) -> None:
        """Give an engine the scores of the runs that were read last, for all model groups."""
        now = self._clock()
        references, paired = self._references(), isinstance(engine.rule, AdaptivePreset)
        key = (self._mark, now // AGAIN_S, paired, tuple(sorted(references.items())))
        if key != self._key:
            removed = dict.fromkeys(self._scores)
            found = {
                group: self._group_scores(group, references.get(group), now, paired=paired)
                for group in {**self._runs, **self._replays}
            }
            self._scores, self._key = {**removed, **found}, key
        for group, scores in self._scores.items():
            engine.observe_scores(group, scores)

    def _group_scores(self, group: str, reference: str | None, now: float, *, paired: bool) -> BenchmarkScores:
        """Return scores and findings; ``NO_SCORES`` where no run counts (any more)."""
        runs = self._runs.get(group, [])
        scores = paired_scores(runs, now, reference) if paired else published_scores(runs, now)
        findings = findings_of(self._replays.get(group, []), reference)
        return replace(scores or NO_SCORES, findings=findings)


def runs_since(
    connection: Connection, since: float, model_group: str | None = None
) -> dict[str, list[BenchmarkRecord]]:
    """Return the runs on record, refused ones as well, by model group and time."""
    return _since(connection, BenchmarkRecord, since, model_group)


def replays_since(
    connection: Connection, since: float, model_group: str | None = None
) -> dict[str, list[VerifierRecord]]:
    """Return the verifier's runs on record by model group and time."""
    return _since(connection, VerifierRecord, since, model_group)


def _since(connection: Connection, kind: type[R], since: float, model_group: str | None) -> dict[str, list[R]]:
    table: Any = table_of(kind)
    conditions = [table.c.at >= since, *([] if model_group is None else [table.c.model_group == model_group])]
    found: dict[str, list[R]] = defaultdict(list)
    for run in find(connection, kind, *conditions):
        found[run.model_group].append(run)
    return dict(found)


def _mark(connection: Connection) -> tuple[Any, ...]:
    found: list[Any] = []
    for kind in (BenchmarkRecord, VerifierRecord):
        table: Any = table_of(kind)
        found += connection.execute(select(func.count(), func.max(table.c.row)).select_from(table)).one()
    return tuple(found)


assert KEPT_S >= WINDOW_S + BASELINE_S
