"""The one stateful core object: samples go in, and on a timer a snapshot of verdicts comes out.

The response path calls ``record``, which only appends; the request path reads ``snapshot``, which is replaced in one
assignment; ``recompute`` alone joins them. All of it belongs to one thread (an event loop); reading ``snapshot`` and
what it holds is safe from any. Which rule decides is the preset's business.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import GroupSnapshot, Snapshot, Transition
from exacto_plugin.core.ordering import Ask, decide, probe_shares
from exacto_plugin.core.overrides import Overrides
from exacto_plugin.core.pace import levelled, no_pace, recent_pace, wider
from exacto_plugin.core.percentiles import Percentiles, Watched
from exacto_plugin.core.purse import Purse
from exacto_plugin.core.rosters import Rosters
from exacto_plugin.core.slots import Slots
from exacto_plugin.core.staying import stay
from exacto_plugin.core.tiers import TIERS, Findings, Standing
from exacto_plugin.core.window import ROWS, Retention, Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from exacto_plugin.core.ledger import Ledger, Look
    from exacto_plugin.core.model import BenchmarkScores, Decision, RecentPace, Sample, Tier
    from exacto_plugin.core.tally import Count
    from exacto_plugin.core.tiers import Block, Preset

CAPACITY = 50_000
"""Deployments that are remembered at most. Wildcard groups make one per model that a client names."""

_JUDGE = "rule."
"""Before the names of what a rule remembers, among what is remembered of a deployment."""

_NOTHING: Mapping[str, float] = MappingProxyType({})
_NOTHING_TOLD: Mapping[str, str] = MappingProxyType({})

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Portion(NamedTuple):
    """The part of the next snapshot that comes from one block."""

    findings: Findings
    groups: Sequence[GroupSnapshot]
    transitions: Sequence[Transition]
    look: Look | None


class Engine:
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
        retention = retention or Retention()
        self._now = 0.0
        self._preset = preset
        self._judge = preset.judge()
        self._windows = Windows(retention, self._judge.min_output_tokens)
        self._slots = Slots(capacity, retention.span_s, timer or (lambda: self._now))
        self._standing = Standing()
        self._rosters = Rosters(self._slots, self._slot)
        self._scores: dict[str, BenchmarkScores] = {}
        self._speed = no_pace()
        self._latency = no_pace()
        self._instance = f"-{instance}" if instance else ""
        self._stamp = 0
        self._running: object = None
        self._purse = Purse()
        self._watched = Watched()
        self._snapshot = Snapshot(f"0{self._instance}", 0.0, MappingProxyType({}))
        self._transitions: tuple[Transition, ...] = ()
        self.overrides = Overrides()
        """What operators say; over whatever is measured."""
        self.ledger: Ledger | None = None
        """Set when somebody puts recomputes on record."""

    @property
    def rule(self) -> Preset:
        """The preset in force; a new one decides from the next recompute on, from the same windows."""
        return self._preset

    @rule.setter
    def rule(self, preset: Preset) -> None:
        before = self._judge
        self._preset = preset
        self._judge = preset.judge()
        self._judge.inherit(before, self._standing.tier)
        self._judge.reach(len(self._windows.slabs) * ROWS)
        self._windows.min_output_tokens = self._judge.min_output_tokens
        self._running = None

    @property
    def snapshot(self) -> Snapshot:
        """What is in force: ``measured``, with what operators say over it."""
        return self.overrides.over(self._snapshot)

    @property
    def measured(self) -> Snapshot:
        """The result of the last finished recompute; empty before the first."""
        return self._snapshot

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The changes of tier that the last finished recompute made."""
        return self._transitions

    @property
    def dropped(self) -> int:
        """Samples that came too late to be counted."""
        return self._windows.dropped

    def groups(self) -> tuple[str, ...]:
        """Model groups that were observed or sampled within the retention time."""
        return tuple(dict.fromkeys(group for group, _ in self._slots))

    def observe_peers(
        self,
        model_group: str,
        deployments: Iterable[str],
        now: float,
        *,
        weights: Mapping[str, float] = _NOTHING,
        capacities: Mapping[str, float] = _NOTHING,
        fingerprints: Mapping[str, str] = _NOTHING_TOLD,
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
        changed = self._rosters.observe(model_group, served)
        if changed is not None:
            self._standing.begin(changed, now)
        self._rosters.describe(model_group, weights, capacities)
        for deployment in served:
            fingerprint = fingerprints.get(deployment)
            if fingerprint and self._standing.replaced(self._slot(model_group, deployment), fingerprint):
                self.restart(model_group, deployment, now)

    def restart(self, model_group: str, deployment: str, now: float) -> None:
        """A deployment is another one as of ``now``: it has insufficient data from the next recompute on."""
        self._judge.restart(self._slot(model_group, deployment), now)

    def dump(self) -> dict[str, dict[str, dict[str, float | int | str | None]]]:
        """What is remembered beside the windows, as plain data by model group and deployment."""
        remembered: dict[str, dict[str, dict[str, float | int | str | None]]] = {}
        for group, deployment in self._slots:
            slot = self._slot(group, deployment)
            since = float(self._standing.since[slot])
            standing: dict[str, float | int | str | None] = {
                "tier": TIERS[self._standing.tier[slot]].value,
                "since": None if math.isnan(since) else since,
                "fingerprint": self._standing.fingerprints.get(slot),
            }
            own = {f"{_JUDGE}{name}": value for name, value in self._judge.dump(slot).items()}
            remembered.setdefault(group, {})[deployment] = standing | own
        return remembered

    def load(self, remembered: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """Take over what ``dump`` gave, e.g. after a restart; what is not known here is left out."""
        for group, deployments in remembered.items():
            for deployment, plain in deployments.items():
                slot = self._slot(group, deployment)
                self._standing.load(slot, plain.get("tier"), plain.get("since"), plain.get("fingerprint"))
                own = {name.removeprefix(_JUDGE): value for name, value in plain.items() if name.startswith(_JUDGE)}
                self._judge.load(slot, own)

    def observe_scores(self, model_group: str, scores: BenchmarkScores | None) -> None:
        """Say what a benchmark found about the deployments of a model group; None takes it back."""
        self._scores.pop(model_group, None)
        if scores is not None:
            self._scores[model_group] = scores

    def watch(self, model_group: str, now: float) -> None:
        """Somebody asks for percentiles of a model group: snapshots tell them for the next hour."""
        self._watched.ask(model_group, now)

    def record(self, sample: Sample) -> None:
        """Count one finished answer or failed attempt."""
        if sample.probe:
            self._purse.note(sample)
        self._windows.record(self._slot(sample.model_group, sample.deployment), sample)

    def add(
        self, model_group: str, deployment: str, counts: Mapping[Count, int], cells: Mapping[int, int], at: float
    ) -> None:
        """Count many samples of one time at once, e.g. another replica's or a simulation's; see ``Windows.add``."""
        self._windows.add(self._slot(model_group, deployment), counts, cells, at)

    def decide(self, ask: Ask, draw: Callable[[], float]) -> Decision:
        """Order the candidates of one attempt by the snapshot in force; computes no statistics.

        Counts what probes cost, so that the snapshot's budgets hold until the next one. A probe that begins a
        conversation costs all of its turns, as long as the deployment is still being measured.
        """
        snapshot, group, purse = self.snapshot, ask.model_group, self._purse
        shares = probe_shares(ask, snapshot)
        if not shares:
            return stay(ask, snapshot, decide(ask, snapshot, draw))
        purse.earn(group, sum(shares.values()))
        if ask.running:
            purse.pass_by(group)
            decision = stay(ask, snapshot, decide(ask, snapshot, draw))
        else:
            passed = purse.passed(group)
            found = decide(ask, snapshot, draw, lambda key: purse.allows(snapshot, group, key), passed)
            decision = stay(ask, snapshot, found)
        goes_on = ask.home is not None and ask.home.probed and decision.pool == (ask.home.id,)
        if decision.explored or goes_on:
            key = next(ranked.key for ranked in decision.ranking if ranked.id in decision.pool)
            if key in shares:
                purse.spend(group, key)
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
        running = self._running = object()
        self._now = now
        for number, slab in enumerate(tuple(self._windows.slabs)):
            slab.flush(now)
            self._judge.measure(number, slab, now)
            for columns, recent in zip((self._speed, self._latency), recent_pace(slab, now), strict=True):
                columns.samples[:, number * ROWS : (number + 1) * ROWS] = recent.samples
                columns.medians[:, number * ROWS : (number + 1) * ROWS] = recent.medians
            yield
            if self._running is not running:
                return
        found: list[Portion] = []
        for block in self._rosters.blocks():
            found.append(self._conclude(block, now))
            yield
            if self._running is not running:
                return
        paces: dict[str, Mapping[str, RecentPace]] = {}
        for group, told in self._paces(found, now):
            paces[group] = told
            yield
            if self._running is not running:
                return
        self._publish(found, now, paces)
        yield from self._forget_absent(now)

    def _slot(self, model_group: str, deployment: str) -> int:
        slot = self._slots.claim((model_group, deployment))
        if slot >= len(self._windows.slabs) * ROWS:
            self._grow(slot + 1)
        return slot

    def _grow(self, slots: int) -> None:
        self._windows.reach(slots)
        room = len(self._windows.slabs) * ROWS
        self._standing.reach(room)
        self._judge.reach(room)
        self._speed = wider(self._speed, room)
        self._latency = wider(self._latency, room)

    def _conclude(self, block: Block, now: float) -> Portion:
        """What the next snapshot says about a block; changes nothing yet."""
        judgement = self._judge.judge(block, self._scores)
        previous, since = self._standing.compare(block, judgement.tier, now)
        speed = levelled(self._speed.at(block.slots), 1.0)
        latency = levelled(self._latency.at(block.slots), math.nan)
        findings = Findings(block, judgement, since, speed, latency, now)
        groups = [findings.group(number) for number in range(len(block.groups))]
        transitions = [
            _transition(groups[number], tuple(block.rosters[number])[place], TIERS[previous[number, place]])
            for number, place in np.argwhere(previous != judgement.tier)
        ]
        ledger = self.ledger
        look = None if ledger is None else ledger.look(self._judge, block, judgement, self._scores, now)
        return Portion(findings, groups, transitions, look)

    def _paces(self, found: Iterable[Portion], now: float) -> Iterator[tuple[str, Mapping[str, RecentPace]]]:
        """Percentiles for each group that somebody asked about lately, one group after the other."""
        watched = set(self._watched.current(now))
        if not watched:
            return
        percentiles = Percentiles(self._windows.slabs, now)
        for portion in found:
            for group in portion.groups:
                if group.model_group in watched:
                    slot = partial(self._slot, group.model_group)
                    yield group.model_group, percentiles.of(group.verdicts, slot)

    def _publish(self, found: Sequence[Portion], now: float, paces: Mapping[str, Mapping[str, RecentPace]]) -> None:
        groups: dict[str, GroupSnapshot] = {}
        transitions: list[Transition] = []
        for portion in found:
            self._standing.settle(portion.findings.block, portion.findings.judgement.tier, portion.findings.since)
            portion.findings.judgement.settle()
            groups.update((group.model_group, group) for group in portion.groups)
            transitions += portion.transitions
        if self.ledger is not None:
            self.ledger.settle(portion.look for portion in found if portion.look is not None)
        groups.update((name, replace(groups[name], paces=told)) for name, told in paces.items())
        # Later than the last one even if the clock was put back, so that no id comes twice.
        self._stamp = max(self._stamp + 1, int(now * 1000))
        self._transitions = tuple(transitions)
        self._snapshot = Snapshot(f"{_base36(self._stamp)}{self._instance}", now, MappingProxyType(groups))
        self._purse.renew(self._snapshot)

    def _forget_absent(self, now: float) -> Iterator[None]:
        """Erase deployments that nobody has heard of for the retention time."""
        gone = self._slots.sweep()
        for number in sorted({slot // ROWS for slot in gone}):
            slots = [slot for slot in gone if slot // ROWS == number]
            self._windows.forget(slots, now)
            self._standing.forget(slots)
            self._judge.forget(slots)
            self._slots.reuse(slots)
            yield


def _transition(group: GroupSnapshot, deployment: str, previous: Tier) -> Transition:
    verdict = group.verdicts[deployment]
    return Transition(group.model_group, deployment, previous, verdict.tier, group.at, verdict.reasons)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
