"""Engine: samples in, and a snapshot of verdicts out at each recompute.

The response path calls ``record``, which only adds counts; the request path reads ``snapshot``, which is replaced in
one assignment; ``recompute`` connects both. An engine belongs to one thread (an event loop); ``snapshot`` and its
contents can be read from any thread. The preset contains the rule.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from exacto_plugin.core.engine.recompute import BlockResult, evaluate_block
from exacto_plugin.core.engine.state import CAPACITY, EngineState
from exacto_plugin.core.model import GroupSnapshot, Snapshot, Transition
from exacto_plugin.core.routing.affinity_rule import apply_affinity
from exacto_plugin.core.routing.ordering import RoutingRequest, decide, probe_shares
from exacto_plugin.core.routing.overrides import Overrides
from exacto_plugin.core.routing.probe_budget import ProbeBudget
from exacto_plugin.core.tiers.rosters import ModelGroups
from exacto_plugin.core.windows.percentiles import PercentileReader, PercentileRequests
from exacto_plugin.core.windows.speed import recent_medians
from exacto_plugin.core.windows.windows import ROWS, Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from exacto_plugin.core.model import BenchmarkScores, Decision, RecentPace, Sample
    from exacto_plugin.core.routing.probe_budget import ProbeShare
    from exacto_plugin.core.tiers.checkpoints import ChangeDetector
    from exacto_plugin.core.tiers.columns import Preset

_NO_NUMBERS: Mapping[str, float] = MappingProxyType({})
_NO_FINGERPRINTS: Mapping[str, str] = MappingProxyType({})

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Engine(EngineState):
    """Engine of one process: turns samples into snapshots of all model groups."""

    def __init__(
        self,
        preset: Preset,
        *,
        timer: Callable[[], float] | None = None,
        instance: str = "",
        retention: Retention | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        """Create an engine without samples.

        Args:
            preset: the rule's configuration.
            timer: clock in seconds for expiring unused deployments, preferably monotonic; None for the latest ``now``
                that was given.
            instance: a short name of this process, the end of every snapshot's id.
            retention: retention and resolution of samples.
            capacity: largest number of deployments.
        """
        super().__init__(preset.judge(), timer or (lambda: self._now), retention or Retention(), capacity)
        self._now = 0.0
        self._preset = preset
        self._model_groups = ModelGroups(self._slots, self._slot)
        self._scores: dict[str, BenchmarkScores] = {}
        self._instance = f"-{instance}" if instance else ""
        self._stamp = 0
        self._current_run: object = None
        self._probe_budget = ProbeBudget()
        self._percentile_requests = PercentileRequests()
        self._snapshot = Snapshot(f"0{self._instance}", 0.0, MappingProxyType({}))
        self._transitions: tuple[Transition, ...] = ()
        self.overrides = Overrides()
        """Overrides by operators; applied on top of the measured verdicts."""
        self.change_detector: ChangeDetector | None = None
        """Detector of changes to record; None: recomputes are not recorded."""

    @property
    def rule(self) -> Preset:
        """The preset in force.

        A new one applies from the next recompute on, to the same windows.
        """
        return self._preset

    @rule.setter
    def rule(self, preset: Preset) -> None:
        before = self._rule
        self._preset = preset
        self._rule = preset.judge()
        self._rule.inherit(before, self._tier_state.tier)
        self._rule.resize(len(self._windows.blocks) * ROWS)
        self._windows.min_output_tokens = self._rule.min_output_tokens
        self._current_run = None

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot in force: ``measured`` with the overrides applied."""
        return self.overrides.apply(self._snapshot)

    @property
    def measured(self) -> Snapshot:
        """The result of the last finished recompute; empty before the first."""
        return self._snapshot

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The changes of tier of the last finished recompute."""
        return self._transitions

    def observe_peers(
        self,
        model_group: str,
        deployments: Iterable[str],
        now: float,
        *,
        weights: Mapping[str, float] = _NO_NUMBERS,
        capacities: Mapping[str, float] = _NO_NUMBERS,
        fingerprints: Mapping[str, str] = _NO_FINGERPRINTS,
    ) -> None:
        """Set the deployments of a model group as of ``now``.

        An empty list removes the group. Only these deployments are compared with each other and appear in the next
        snapshot. The history of a removed deployment is kept for the retention time.

        Args:
            model_group: the model group of the deployments.
            deployments: their names.
            now: UTC seconds.
            weights: relative traffic that the operator's strategy would give them; missing: 1.
            capacities: requests a minute that they can take at most; missing: unlimited.
            fingerprints: fingerprint of each deployment's configuration; when it changes, the evidence restarts, also
                after an absence or a restart with ``load``.
        """
        self._now = now
        served = tuple(deployments)
        changed = self._model_groups.observe(model_group, served)
        if changed is not None:
            self._tier_state.start(changed, now)
        self._model_groups.describe(model_group, weights, capacities)
        for deployment in served:
            fingerprint = fingerprints.get(deployment)
            if fingerprint and self._tier_state.note_fingerprint(self._slot(model_group, deployment), fingerprint):
                self.restart(model_group, deployment, now)

    def observe_scores(self, model_group: str, scores: BenchmarkScores | None) -> None:
        """Set the benchmark scores of a model group; None removes them."""
        self._scores.pop(model_group, None)
        if scores is not None:
            self._scores[model_group] = scores

    def watch(self, model_group: str, now: float) -> None:
        """Request a model group's percentiles in snapshots of the next hour."""
        self._percentile_requests.request(model_group, now)

    def watched(self, now: float) -> tuple[str, ...]:
        """Return the model groups whose percentiles are computed."""
        return tuple(self._percentile_requests.current(now))

    def record(self, sample: Sample) -> None:
        """Count one finished answer or failed attempt."""
        if sample.probe:
            self._probe_budget.record_result(sample)
        super().record(sample)

    def adopt(self, snapshot: Snapshot, remembered: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """Put another process's snapshot and state in force.

        A running recompute ends without a result. The transitions are reported by the other process.
        """
        self._current_run = None
        self.load(remembered)
        self._stamp = max(self._stamp, int(snapshot.at * 1000))
        self._transitions = ()
        self._snapshot = snapshot
        self._probe_budget.reset(snapshot)

    def share_probes(self, share: ProbeShare) -> None:
        """Set this process's share of the probe budgets of the snapshot in force.

        Without a share the whole budgets apply.
        """
        self._probe_budget.share = share

    def decide(self, ask: RoutingRequest, draw: Callable[[], float]) -> Decision:
        """Order the candidates of one attempt by the snapshot in force.

        Computes no statistics. Charges probes to the probe budget, so that the snapshot's budgets hold until the next
        one. A probe that starts a conversation is charged all of its turns while the deployment is still being
        measured.
        """
        snapshot, group, purse = self.snapshot, ask.model_group, self._probe_budget
        shares = probe_shares(ask, snapshot)
        if not shares:
            return apply_affinity(ask, snapshot, decide(ask, snapshot, draw))
        purse.accrue(group, sum(shares.values()))
        if ask.in_conversation:
            purse.skip(group)
            decision = apply_affinity(ask, snapshot, decide(ask, snapshot, draw))
        else:
            passed = purse.take_skipped(group)
            found = decide(ask, snapshot, draw, lambda key: purse.allows(snapshot, group, key), passed)
            decision = apply_affinity(ask, snapshot, found)
        goes_on = ask.home is not None and ask.home.from_probe and decision.pool == (ask.home.id,)
        if decision.explored or goes_on:
            key = next(ranked.key for ranked in decision.ranking if ranked.id in decision.pool)
            if key in shares:
                purse.charge(group, key)
        return decision

    def recompute(self, now: float) -> Snapshot:
        """Recompute all verdicts at once and return the new snapshot."""
        for _ in self.recompute_slices(now):
            pass
        return self.snapshot

    def recompute_slices(self, now: float) -> Iterator[None]:
        """Recompute all verdicts in slices of a few milliseconds.

        An async caller can run other tasks between slices. The new snapshot is in force when the iterator ends.
        Samples and peers that arrive meanwhile may be included now or at the next recompute. When another recompute
        starts meanwhile, this one ends without a result.
        """
        running = self._current_run = object()
        self._now = now
        for number, slab in enumerate(tuple(self._windows.blocks)):
            slab.flush(now)
            self._rule.measure(number, slab, now)
            for columns, found in zip((self._speed, self._latency), recent_medians(slab, now), strict=True):
                columns.samples[:, number * ROWS : (number + 1) * ROWS] = found.samples
                columns.medians[:, number * ROWS : (number + 1) * ROWS] = found.medians
            yield
            if self._current_run is not running:
                return
        portions: list[BlockResult] = []
        for block in self._model_groups.blocks():
            paces = (self._speed, self._latency)
            portions.append(
                evaluate_block(block, self._rule, self._tier_state, self._scores, paces, now, self.change_detector)
            )
            yield
            if self._current_run is not running:
                return
        told: dict[str, Mapping[str, RecentPace]] = {}
        for group, recent in self._percentiles(portions, now):
            told[group] = recent
            yield
            if self._current_run is not running:
                return
        self._publish(portions, now, told)
        yield from self._erase_expired()

    def _percentiles(self, found: Iterable[BlockResult], now: float) -> Iterator[tuple[str, Mapping[str, RecentPace]]]:
        """Compute the percentiles of each recently requested group, one at a time."""
        watched = set(self._percentile_requests.current(now))
        if not watched:
            return
        percentiles = PercentileReader(self._windows.blocks, now)
        for portion in found:
            for group in portion.groups:
                if group.model_group in watched:
                    slot = partial(self._slot, group.model_group)
                    yield group.model_group, percentiles.of(group.verdicts, slot)

    def _publish(self, found: Sequence[BlockResult], now: float, paces: Mapping[str, Mapping[str, RecentPace]]) -> None:
        groups: dict[str, GroupSnapshot] = {}
        transitions: list[Transition] = []
        for portion in found:
            portion.commit(self._tier_state)
            groups.update((group.model_group, group) for group in portion.groups)
            transitions += portion.transitions
        if self.change_detector is not None:
            self.change_detector.commit(portion.scan for portion in found if portion.scan is not None)
        groups.update((name, replace(groups[name], paces=told)) for name, told in paces.items())
        # Later than the last stamp even if the clock went back, so that every id is unique.
        self._stamp = max(self._stamp + 1, int(now * 1000))
        self._transitions = tuple(transitions)
        self._snapshot = Snapshot(f"{_base36(self._stamp)}{self._instance}", now, MappingProxyType(groups))
        self._probe_budget.reset(self._snapshot)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
