"""The one stateful core object: samples go in, and on a timer a snapshot of verdicts comes out.

The response path calls ``record``, which only appends; the request path reads ``snapshot``, which is replaced in one
assignment; ``recompute`` alone joins them. All of it belongs to one thread (an event loop); reading ``snapshot`` and
what it holds is safe from any. Which rule decides is the preset's business.
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
    """Samples to snapshots for every model group of one process."""

    def __init__(
        self,
        preset: Preset,
        *,
        timer: Callable[[], float] | None = None,
        instance: str = "",
        retention: Retention | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        """Start without any sample.

        Args:
            preset: the rule's configuration.
            timer: seconds by which deployments that nobody hears of any more are forgotten, best a clock that never
                goes back; None for the latest ``now`` that was given.
            instance: a short name of this process, the end of every snapshot's id.
            retention: how long samples are kept, and how finely.
            capacity: deployments that are remembered at most.
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
        """What operators say; over whatever is measured."""
        self.change_detector: ChangeDetector | None = None
        """Set when somebody puts recomputes on record."""

    @property
    def rule(self) -> Preset:
        """The preset in force; a new one decides from the next recompute on, from the same windows."""
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
        """What is in force: ``measured``, with what operators say over it."""
        return self.overrides.apply(self._snapshot)

    @property
    def measured(self) -> Snapshot:
        """The result of the last finished recompute; empty before the first."""
        return self._snapshot

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The changes of tier that the last finished recompute made."""
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
        """Say which deployments serve a model group as of ``now``; an empty list ends the group.

        Only these are compared with each other and appear in the next snapshot. The history of one that is no longer
        served stays for the retention time, in case it comes back.

        Args:
            model_group: whose deployments they are.
            deployments: their names.
            now: UTC seconds.
            weights: relative traffic that the operator's strategy would give them; missing: 1.
            capacities: requests a minute that they can take at most; missing: any number.
            fingerprints: what a deployment really is; when it changes, its evidence begins anew, also when it was
                away or remembered by ``dump`` meanwhile.
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
        """Say what a benchmark found about the deployments of a model group; None takes it back."""
        self._scores.pop(model_group, None)
        if scores is not None:
            self._scores[model_group] = scores

    def watch(self, model_group: str, now: float) -> None:
        """Somebody asks for percentiles of a model group: snapshots tell them for the next hour."""
        self._percentile_requests.request(model_group, now)

    def watched(self, now: float) -> tuple[str, ...]:
        """The model groups that percentiles are told of."""
        return tuple(self._percentile_requests.current(now))

    def record(self, sample: Sample) -> None:
        """Count one finished answer or failed attempt."""
        if sample.probe:
            self._probe_budget.record_result(sample)
        super().record(sample)

    def adopt(self, snapshot: Snapshot, remembered: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """Put the snapshot of another process in force, with what that one remembered; a running recompute ends.

        Its transitions are the other's to tell.
        """
        self._current_run = None
        self.load(remembered)
        self._stamp = max(self._stamp, int(snapshot.at * 1000))
        self._transitions = ()
        self._snapshot = snapshot
        self._probe_budget.reset(snapshot)

    def share_probes(self, share: ProbeShare) -> None:
        """Say which part of the budgets of the snapshot in force is this process's; all of it until then."""
        self._probe_budget.share = share

    def decide(self, ask: RoutingRequest, draw: Callable[[], float]) -> Decision:
        """Order the candidates of one attempt by the snapshot in force; computes no statistics.

        Counts what probes cost, so that the snapshot's budgets hold until the next one. A probe that begins a
        conversation costs all of its turns, as long as the deployment is still being measured.
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
        """Judge everything at once; returns the new snapshot."""
        for _ in self.recompute_slices(now):
            pass
        return self.snapshot

    def recompute_slices(self, now: float) -> Iterator[None]:
        """Judge everything in slices of a few milliseconds, so that an async caller can let others run in between.

        The new snapshot is in force when the iterator ends. Samples and peers that arrive in between are taken in or
        left for the next time. When another recompute is started meanwhile, this one ends without a result.
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
        """Percentiles for each group that somebody asked about lately, one group after the other."""
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
        # Later than the last one even if the clock was put back, so that no id comes twice.
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
