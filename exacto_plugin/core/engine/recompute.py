"""One recompute: what changed is measured and judged, the rest stays in force.

Changes no state before ``commit``; the engine puts the resulting snapshot in force.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from exacto_plugin.core.engine.evaluation import evaluate_block, percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from contextlib import AbstractContextManager

    from exacto_plugin.core.engine.evaluation import BlockResult
    from exacto_plugin.core.engine.kept import GroupResult, KeptResults
    from exacto_plugin.core.engine.state import EngineState
    from exacto_plugin.core.model import BenchmarkScores, DeploymentKey, GroupSnapshot, Transition
    from exacto_plugin.core.pace import RecentPace
    from exacto_plugin.core.tiers.change_point import CallHistory
    from exacto_plugin.core.tiers.checkpoints import ChangeDetector
    from exacto_plugin.core.tiers.rosters import GroupMembers, ModelGroups


class RecomputeRun:
    """One recompute of all model groups.

    Args:
        state: of the deployments.
        model_groups: the groups and their members.
        kept: results in force.
        scores: benchmark scores by model group.
        change_detector: finds the groups to record; None: none are.
        now: UTC seconds.
    """

    def __init__(
        self,
        state: EngineState,
        model_groups: ModelGroups,
        kept: KeptResults,
        scores: Mapping[str, BenchmarkScores],
        change_detector: ChangeDetector | None,
        now: float,
    ) -> None:
        self._state = state
        self._model_groups = model_groups
        self._kept = kept
        self._scores = scores
        self._change_detector = change_detector
        self._now = now
        self._judged: list[BlockResult] = []
        self._unchanged: dict[str, GroupResult] = {}
        self._order: tuple[str, ...] = ()
        self._paces: dict[str, Mapping[DeploymentKey, RecentPace]] = {}

    def slices(self, watched: Callable[[float], Collection[str]]) -> Iterator[None]:
        """Measure and judge in slices.

        ``watched`` returns the groups that need percentiles.
        """
        state, now = self._state, self._now
        yield from state.measure(now)
        self._order = self._model_groups.names()
        for block, members in self._model_groups.blocks(self._has_to_be_judged):
            self._judged.append(evaluate_block(block, members, state, self._scores, now, self._change_detector))
            yield
        groups = (result.snapshot for result in self._results().values())
        for group, recent in percentiles(groups, state, watched(now), now):
            self._paces[group] = recent
            yield

    def commit(self) -> Iterator[GroupSnapshot]:
        """Store the results; return each group's part of the snapshot."""
        for result in self._judged:
            result.commit(self._state)
        if self._change_detector is not None:
            scans = (result.scan for result in self._judged if result.scan is not None)
            self._change_detector.commit(scans, self._unchanged)
        self._kept.replace(self._results())
        return self._kept.snapshots(self._now, self._paces)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The changes of tier."""
        return tuple(chain.from_iterable(result.transitions for result in self._judged))

    @property
    def call_histories(self) -> dict[tuple[str, DeploymentKey], CallHistory]:
        """The calls of deranks, and of their ends, among ``transitions``."""
        return {key: one for result in self._judged for key, one in result.histories.items()}

    def _results(self) -> dict[str, GroupResult]:
        """Return the results of all groups, in the order of the groups."""
        found = dict(self._unchanged)
        for result in self._judged:
            found.update(result.groups)
        return {name: found[name] for name in self._order if name in found}

    def _has_to_be_judged(self, model_group: str, members: GroupMembers, width: int) -> bool:
        """Return False if judging a group again would give an equal result."""
        result, state, now = self._kept.get(model_group), self._state, self._now
        is_due = self._change_detector is not None and self._change_detector.is_due(model_group, now)
        if result is None or now >= result.until or is_due:
            return True
        if not result.holds(members, width, self._scores, state.marks, state.rule.interval_s):
            return True
        self._unchanged[model_group] = result
        return False


def locked_slices(lock: AbstractContextManager[object], slices: Iterator[None]) -> Iterator[None]:
    """Run each slice under the lock and release it in between."""
    while True:
        with lock:
            try:
                next(slices)
            except StopIteration:
                return
        yield
