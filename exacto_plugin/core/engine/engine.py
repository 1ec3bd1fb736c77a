"""Engine: samples in, and a snapshot of verdicts out at each recompute.

The response path calls ``record``, which only adds counts; the request path reads ``snapshot``, which is replaced in
one assignment; ``recompute`` connects both. ``snapshot`` and its contents can be read from any thread. Everything else
holds the engine's lock, which is released between two slices of a recompute: a request in another thread waits for at
most one slice. The preset contains the rule.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.engine.kept import KeptResults
from exacto_plugin.core.engine.recompute import RecomputeRun, locked_slices
from exacto_plugin.core.engine.state import CAPACITY, EngineState
from exacto_plugin.core.model import DeploymentKey, Snapshot
from exacto_plugin.core.routing.attempt import decide_attempt
from exacto_plugin.core.routing.overrides import Overrides
from exacto_plugin.core.routing.pacing import Pacing
from exacto_plugin.core.routing.probe_budget import ProbeBudget
from exacto_plugin.core.tiers.rosters import ModelGroups
from exacto_plugin.core.windows.codec import decode, encode
from exacto_plugin.core.windows.percentiles import PercentileRequests
from exacto_plugin.core.windows.windows import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.engine.state import Remembered
    from exacto_plugin.core.model import BenchmarkScores, Sample, Transition
    from exacto_plugin.core.routing.ordering import RoutingRequest
    from exacto_plugin.core.routing.probe_budget import ProbeShare
    from exacto_plugin.core.tiers.change_point import CallHistory
    from exacto_plugin.core.tiers.checkpoints import ChangeDetector
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.core.windows.codec import WindowDump
    from exacto_plugin.core.windows.deltas import Delta, Deltas
    from exacto_plugin.core.windows.minute_buffer import Additions

_NO_NUMBERS: Mapping[DeploymentKey, float] = MappingProxyType({})
_NO_FINGERPRINTS: Mapping[DeploymentKey, str] = MappingProxyType({})
_NO_LOCK = nullcontext()


class Engine:
    """Engine of one process: turns samples into snapshots of all model groups."""

    change_detector: ChangeDetector | None = None
    """Detector of changes to record; None: recomputes are not recorded."""
    deltas: Deltas | None = None
    """Deltas of recorded samples, for storing or sharing them; None: not kept."""
    transitions: tuple[Transition, ...] = ()
    """The changes of tier of the last finished recompute."""
    call_histories: Mapping[tuple[str, DeploymentKey], CallHistory] = MappingProxyType({})
    """The calls of deranks, and of their ends, among ``transitions``; empty without a change detector."""

    def __init__(
        self,
        preset: Preset,
        *,
        timer: Callable[[], float] | None = None,
        instance: str = "",
        retention: Retention | None = None,
        capacity: int = CAPACITY,
        lock: AbstractContextManager[object] = _NO_LOCK,
        is_configured: Callable[[str], bool] = lambda model_group: True,
    ) -> None:
        """Create an engine without samples.

        Args:
            preset: the rule's configuration.
            timer: clock in seconds for expiring unused deployments, preferably monotonic; None: the latest ``now``.
            instance: a short name of this process, the end of every snapshot's id.
            retention: retention and resolution of samples.
            capacity: largest number of configured deployments.
            lock: ``threading.RLock()`` for a program with threads; its holder must be able to take it again.
            is_configured: False for model groups that requests invent, which have a small table of their own.
        """
        self.lock = lock
        """Held by every method that changes the engine; callers may hold it around several calls."""
        self._now, self._preset = 0.0, preset
        clock = timer or (lambda: self._now)
        self._state = EngineState(preset.judge(), clock, retention or Retention(), capacity, is_configured)
        self._model_groups = ModelGroups(self._state.slots, self._state.slot)
        self._state.members_of = self._model_groups.members_of
        self._results = KeptResults()
        self._scores: dict[str, BenchmarkScores] = {}
        self._instance = f"-{instance}" if instance else ""
        self._stamp = 0
        self._current_run: object = None
        self._probe_budget = ProbeBudget()
        self._pacing = Pacing()
        self._percentile_requests = PercentileRequests()
        self._snapshot = Snapshot(f"0{self._instance}", 0.0, MappingProxyType({}))
        self.overrides = Overrides()
        """Overrides by operators; applied on top of the measured verdicts."""

    @property
    def rule(self) -> Preset:
        """The preset in force.

        A new one applies from the next recompute on, to the same windows.
        """
        return self._preset

    @rule.setter
    def rule(self, preset: Preset) -> None:
        with self.lock:
            self._preset = preset
            self._state.change_rule(preset.judge())
            self._current_run = None

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot in force: ``measured`` with the overrides applied."""
        return self.overrides.apply(self._snapshot)

    @property
    def measured(self) -> Snapshot:
        """The result of the last finished recompute; empty before the first."""
        return self._snapshot

    def observe_peers(
        self,
        model_group: str,
        deployments: Iterable[DeploymentKey],
        now: float,
        *,
        weights: Mapping[DeploymentKey, float] = _NO_NUMBERS,
        capacities: Mapping[DeploymentKey, float] = _NO_NUMBERS,
        prices: Mapping[DeploymentKey, float] = _NO_NUMBERS,
        fingerprints: Mapping[DeploymentKey, str] = _NO_FINGERPRINTS,
        reported: Mapping[DeploymentKey, float] = _NO_NUMBERS,
    ) -> None:
        """Set the deployments of a model group as of ``now``.

        An empty list removes the group. Only these are compared and in the next snapshot; the others' history is kept.

        Args:
            model_group: the model group of the deployments.
            deployments: their names.
            now: UTC seconds.
            weights: relative traffic that the operator's strategy would give them; missing: 1.
            capacities: requests a minute that they can take at most; missing: unlimited.
            prices: mean price of a request, in any unit; missing: unknown.
            fingerprints: of each deployment's configuration; a changed one restarts the evidence, also after ``load``.
            reported: requests a minute that the providers' headers allow; missing: unknown.
        """
        with self.lock:
            self._now = now
            served = tuple(self._state.with_slots(model_group, tuple(deployments)))
            changed = self._model_groups.observe(model_group, served)
            if changed is not None:
                self._state.tier_state.start(changed, now)
            self._model_groups.describe(model_group, weights, capacities, prices)
            self._state.note_limits(model_group, served, reported)
            for deployment in served:
                if fingerprint := fingerprints.get(deployment):
                    self._state.note_fingerprint(model_group, deployment, fingerprint, now)

    def observe_scores(self, model_group: str, scores: BenchmarkScores | None) -> None:
        """Set the benchmark scores of a model group; None removes them."""
        with self.lock:
            self._scores.pop(model_group, None)
            if scores is not None:
                self._scores[model_group] = scores

    def watch(self, model_group: str, now: float) -> None:
        """Request a model group's percentiles in snapshots of the next hour."""
        with self.lock:
            self._percentile_requests.request(model_group, now)

    def watched(self, now: float) -> tuple[str, ...]:
        """Return the model groups whose percentiles are computed."""
        with self.lock:
            return self._percentile_requests.current(now)

    # --- samples and state -----------------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """Samples that came too late to be counted."""
        return self._state.windows.dropped

    def groups(self) -> tuple[str, ...]:
        """Return the model groups with a deployment within the retention time."""
        with self.lock:
            return self._state.slots.groups

    def counts(self, sample: Sample) -> bool:
        """Return True if ``record`` counts a sample: not until an invented name works."""
        with self.lock:
            return self._state.counts(sample.model_group, sample.deployment, may_open=sample.ok)

    def record(self, sample: Sample) -> None:
        """Count one finished answer or failed attempt; see ``counts``."""
        with self.lock:
            if sample.probe:
                self._probe_budget.record_result(sample, broken_counts=self._state.windows.checked_callers)
            added = self._state.record(sample)
            if sample.refused:
                self._pacing.note_refusal(sample.model_group, sample.deployment, sample.at)
            if self.deltas is not None and added is not None:
                invented = self._state.slots.is_invented((sample.model_group, sample.deployment))
                self.deltas.add(sample.model_group, sample.deployment, sample.at, added, invented=invented)

    def add(
        self, model_group: str, deployment: DeploymentKey, counts: Additions, cells: Mapping[int, int], at: float
    ) -> None:
        """Count many samples of one time at once; see ``Windows.add``."""
        with self.lock:
            self._state.add(model_group, deployment, counts, cells, at)

    def add_deltas(self, deltas: Iterable[Delta]) -> None:
        """Count the deltas of other processes; unknown counters are ignored."""
        with self.lock:
            self._state.add_deltas(deltas)

    def restart(self, model_group: str, deployment: DeploymentKey, now: float) -> None:
        """Restart the evidence of a deployment that was replaced as of ``now``.

        It has insufficient data from the next recompute on.
        """
        with self.lock:
            self._state.restart(model_group, deployment, now)

    def dump(self, model_group: str | None = None) -> Remembered:
        """Return the state beside the windows as plain data; None: of all groups."""
        with self.lock:
            return self._state.dump(model_group)

    def load(self, remembered: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """Load the state that ``dump`` returned; unknown fields are ignored."""
        with self.lock:
            self._state.load(remembered)

    def copy_windows(self, model_group: str) -> dict[str, WindowDump]:
        """Copy the windows of each deployment of a model group."""
        with self.lock:
            return self._state.copy_windows(model_group)

    def restore_windows(self, model_group: str, held: Mapping[str, WindowDump], *, add: bool = False) -> None:
        """Restore windows that ``copy_windows`` returned; with ``add`` to what is there."""
        with self.lock:
            self._state.restore_windows(model_group, held, add=add)

    def dump_windows(self, model_group: str) -> dict[str, bytes]:
        """Return ``copy_windows`` as bytes for any version, encoded without the lock."""
        return {name: encode(held) for name, held in self.copy_windows(model_group).items()}

    def load_windows(self, model_group: str, dumped: Mapping[str, bytes], *, add: bool = False) -> None:
        """Restore the windows that ``dump_windows`` returned.

        Raises:
            WindowDumpError: some bytes cannot be decoded; then nothing is changed.
        """
        self.restore_windows(model_group, {name: decode(packed) for name, packed in dumped.items()}, add=add)

    def adopt(self, snapshot: Snapshot, remembered: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """Put another process's snapshot and state in force.

        A running recompute ends without a result. The transitions are reported by the other process.
        """
        with self.lock:
            self._current_run = None
            self._state.load(remembered)
            self._stamp = max(self._stamp, int(snapshot.at * 1000))
            self.transitions = ()
            self._snapshot = snapshot
            self._probe_budget.reset(snapshot)
            self._pacing.reset(snapshot)

    # --- requests --------------------------------------------------------------------------------------------------

    def share_probes(self, share: ProbeShare) -> None:
        """Set this process's share of the snapshots' probe budgets, at first all of them."""
        with self.lock:
            self._probe_budget.share = share

    def decide(self, ask: RoutingRequest, draw: Callable[[], float]) -> Decision:
        """Order the candidates of one attempt by the snapshot in force.

        Computes no statistics. Charges probes to the probe budget, so that the snapshot's budgets hold until the next
        one.
        """
        with self.lock:
            return decide_attempt(ask, self.snapshot, self._probe_budget, draw)

    def note_attempt(self, model_group: str, deployment: DeploymentKey, now: float) -> None:
        """Count a request that this process sends to a deployment."""
        with self.lock:
            self._pacing.note_attempt(model_group, deployment, now)

    def busy(self, model_group: str, now: float) -> frozenset[DeploymentKey]:
        """Return the deployments that refuse more requests than they had; see ``Pacing``."""
        with self.lock:
            return self._pacing.busy(model_group, now) if self._preset.learns_capacity else frozenset()

    # --- recompute -------------------------------------------------------------------------------------------------

    def recompute(self, now: float) -> Snapshot:
        """Recompute all verdicts at once and return the new snapshot."""
        for _ in self.recompute_slices(now):
            pass
        return self.snapshot

    def recompute_slices(self, now: float) -> Iterator[None]:
        """Recompute all verdicts in slices of a few milliseconds, each under the lock.

        An async caller can run other tasks between slices. The new snapshot is in force when the iterator ends.
        Samples and peers that arrive meanwhile count now or at the next recompute. A later start ends this one.
        """
        return locked_slices(self.lock, self._recompute(now))

    def age(self, now: float) -> Iterator[None]:
        """Expire samples in slices, for a process that does not recompute itself."""
        return locked_slices(self.lock, self._state.age(now))

    def _recompute(self, now: float) -> Iterator[None]:
        running = self._current_run = object()
        self._now = now
        self._model_groups.drop(self._state.lost_groups())
        run = RecomputeRun(self._state, self._model_groups, self._results, self._scores, self.change_detector, now)
        for _ in run.slices(self._percentile_requests.current):
            yield
            if self._current_run is not running:
                return
        self._publish(run, now)
        yield from self._state.erase_expired()

    def _publish(self, run: RecomputeRun, now: float) -> None:
        groups = {group.model_group: group for group in run.commit()}
        # Later than the last stamp even if the clock went back, so that every id is unique.
        self._stamp = max(self._stamp + 1, int(now * 1000))
        self.call_histories = run.call_histories
        self.transitions = run.transitions
        self._snapshot = Snapshot(
            f"{np.base_repr(self._stamp, 36).lower()}{self._instance}", now, MappingProxyType(groups)
        )
        self._probe_budget.reset(self._snapshot)
        self._pacing.reset(self._snapshot)
