"""The ``adaptive`` preset: verdicts from exact tests on failure rates, with a memory of what was concluded before.

A deployment is deranked when one of several windows shows too many failures for chance, is verified when few enough
failures exclude a rate above its threshold, and keeps its tier in between. A derank starts a new evidence epoch, and
only fresh calls lead back. The numbers and their sources are in ``adaptive_rule``; each part has a module of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import ReasonCode, Signal
from exacto_plugin.core.tiers.adaptive import exploration, other_signals
from exacto_plugin.core.tiers.adaptive.evidence import DAY, HOUR, WINDOWS_S, Evidence
from exacto_plugin.core.tiers.adaptive.failure_rates import Conviction, Counts, FailureRates, failure_rates
from exacto_plugin.core.tiers.adaptive.parameters import AdaptivePreset, AdaptiveRule
from exacto_plugin.core.tiers.adaptive.state import BENCHMARK, ERRORS, PROPENSITY, SLOW, Memory
from exacto_plugin.core.tiers.columns import (
    CODES,
    DERANKED,
    INSUFFICIENT_DATA,
    SILENT,
    VERIFIED_GOOD,
    Judgement,
    Reading,
    SignalColumns,
    put,
)
from exacto_plugin.core.windows.increments import Kind
from exacto_plugin.core.windows.speed import no_pace, pace, wider
from exacto_plugin.core.windows.windows import ROWS
from exacto_plugin.core.wire import to_wire

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.columns import Block, Judge
    from exacto_plugin.core.windows.speed import Pace
    from exacto_plugin.core.windows.windows import Slab

__all__ = ["AdaptiveJudge", "AdaptivePreset", "AdaptiveRule"]

_UNDECIDED, _READMITTED, _RESTARTED, _CAPACITY = (
    CODES.index(code)
    for code in (
        ReasonCode.UNDECIDED,
        ReasonCode.READMITTED,
        ReasonCode.EVIDENCE_RESTARTED,
        ReasonCode.CAPACITY,
    )
)

_INTERVAL_S = (1.0, 300.0, 3600.0)
"""Shortest, first assumed and longest time between two recomputes, for the budgets of probes."""


class _Change(NamedTuple):
    """What changes in a block, ``[group, deployment]``."""

    cause: NDArray[np.int8]
    tier: NDArray[np.int8]
    """What the measurements say, before capacity."""
    newly: NDArray[np.bool_]
    """Deranked by this recompute."""
    back: NDArray[np.bool_]
    """Readmitted by this recompute."""
    improved: NDArray[np.bool_]
    """Evidence restarted because of a sudden improvement."""
    improved_s: NDArray[np.float64]


class AdaptiveJudge:
    """Applies an ``AdaptiveRule``."""

    def __init__(self, rule: AdaptiveRule, exploration_share: float) -> None:
        self.min_output_tokens = rule.min_output_tokens
        self.memory = Memory()
        self._rule = rule
        self._share = exploration_share
        self._evidence = Evidence()
        self._hour = no_pace()
        self._day = no_pace()
        self._now = 0.0
        self._interval_s = _INTERVAL_S[1]

    def reach(self, slots: int) -> None:
        """Make room for slots below ``slots``."""
        self.memory.reach(slots)
        self._evidence.reach(slots)
        self._hour, self._day = wider(self._hour, slots), wider(self._day, slots)

    def measure(self, number: int, slab: Slab, now: float) -> None:
        """Read a slab's tool calls and speeds."""
        if now != self._now:
            shortest, _, longest = _INTERVAL_S
            first = self._now == 0.0
            self._interval_s = _INTERVAL_S[1] if first else min(max(now - self._now, shortest), longest)
            self._now = now
        self._evidence.measure(number, slab, now, self.memory, self._rule)
        self._measure_pace(self._hour, number, slab, WINDOWS_S[HOUR])
        self._measure_pace(self._day, number, slab, WINDOWS_S[DAY])

    def _measure_pace(self, into: Pace, number: int, slab: Slab, window_s: float) -> None:
        rows = slice(number * ROWS, (number + 1) * ROWS)
        found = pace(slab, Kind.SPEED_STREAMED, Kind.SPEED_WHOLE, self._now, window_s)
        into.samples[:, rows], into.medians[:, rows] = found.samples, found.medians

    def read(self, slots: NDArray[np.intp]) -> Reading:
        """What ``judge`` would read of these slots."""
        columns = {name: column[..., slots] for name, column in self._columns().items()}
        return Reading(columns, (self._now, self._interval_s))

    def take(self, reading: Reading, slots: NDArray[np.intp]) -> None:
        """Put what ``read`` gave in place of what was measured."""
        put(self._columns(), reading.columns, slots)
        self._now, self._interval_s = reading.times

    def _columns(self) -> dict[str, NDArray[np.generic]]:
        paces = {"hour": self._hour, "day": self._day}
        return {
            **{f"memory.{name}": column for name, column in to_wire(self.memory).items()},
            **{f"evidence.{name}": column for name, column in to_wire(self._evidence).items()},
            **{f"{name}.{part}": column for name, pace in paces.items() for part, column in to_wire(pace).items()},
        }

    def forget(self, slots: Collection[int]) -> None:
        """Drop all that is kept of some slots."""
        self.memory.forget(slots)
        self._evidence.forget(slots)
        for column in (*self._hour, *self._day):
            column[..., list(slots)] = 0

    def restart(self, slot: int, now: float) -> None:
        """The deployment behind a slot is another one as of now; what was measured before does not count."""
        self.memory.restart(slot, now)

    def inherit(self, other: Judge, tier: NDArray[np.int8]) -> None:
        """Take over the memory of another adaptive judge, or the tiers that another preset left."""
        if isinstance(other, AdaptiveJudge):
            self.memory = other.memory
            self._now, self._interval_s = other._now, other._interval_s
        else:
            self.memory.reach(len(tier))
            self.memory.tier[: len(tier)] = tier
            self.memory.cause[: len(tier)] = np.where(tier == DERANKED, ERRORS, 0)

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """What is remembered of a slot beside the windows, as plain data."""
        return self.memory.dump(slot)

    def load(self, slot: int, plain: Mapping[str, object]) -> None:
        """Take over what ``dump`` gave."""
        self.memory.load(slot, plain)

    def judge(self, block: Block, scores: Mapping[str, BenchmarkScores]) -> Judgement:
        """Conclude about a block from what was measured."""
        memory, evidence, slots, rule = self.memory, self._evidence, block.slots, self._rule
        rates = failure_rates(block, memory, evidence, rule)
        convicted = rates.convicted(memory.cause[slots] > 0)
        others = self._bystanders(block, scores, rates)
        change = self._change(block, rates, convicted, others)
        rate = np.where(change.newly, convicted.evidence.rate(), memory.frozen[slots])
        pauses, demand = self._pauses(slots, change)
        deranked = change.cause > 0
        spared = exploration.spare(block, deranked, rate, evidence.load[slots], rule)
        tier = np.where(spared.spared, INSUFFICIENT_DATA, change.tier).astype(np.int8)
        still = deranked & ~spared.spared
        demand = demand._replace(burst=demand.burst & still, steady=demand.steady & still)
        plan = exploration.plan(block, tier, rates, spared, demand, self._traffic(block), self._share)
        columns = self._tool_calls(block, rates, convicted, change, spared.spared)
        signals = (columns, *(finding.columns for finding, _ in others))
        return Judgement(tier, signals, plan, lambda: self._settle(block, rates, convicted, change, pauses))

    def _bystanders(
        self, block: Block, scores: Mapping[str, BenchmarkScores], rates: FailureRates
    ) -> list[tuple[other_signals.Finding, int]]:
        """The other signals, each with its bit; 0: only observed."""
        evidence, slots = self._evidence, block.slots
        age_s = self._now - np.minimum(self.memory.epoch[slots], self._now)
        paces = other_signals.Paces(self._hour, self._day, evidence.minutes)
        speed = other_signals.throughput(block, paces, age_s, self._rule)
        calling = other_signals.propensity(
            block, evidence.offered_day[slots], evidence.meant_day[slots], rates.phi, self._rule
        )
        found = [(speed, SLOW), (calling, PROPENSITY if self._rule.propensity_deranks else 0)]
        if any(group in scores for group in block.groups):
            found.append((other_signals.benchmark(block, scores), BENCHMARK))
        return found

    def _change(
        self,
        block: Block,
        rates: FailureRates,
        convicted: Conviction,
        others: list[tuple[other_signals.Finding, int]],
    ) -> _Change:
        memory, evidence, slots = self.memory, self._evidence, block.slots
        before = memory.cause[slots]
        was_deranked = before > 0
        fresh = Counts(evidence.fresh_calls[slots], evidence.fresh_bad[slots])
        cause = np.where(was_deranked, before, convicted.guilty * ERRORS)
        cause = np.where(was_deranked & rates.recovered(fresh), cause & ~ERRORS, cause)
        for finding, bit in others:
            cause = np.where(was_deranked & finding.normal, cause & ~bit, cause)
            cause = np.where(~was_deranked & finding.abnormal, cause | bit, cause)
        cause = np.where(block.member, cause, 0).astype(np.int8)
        newly, back = ~was_deranked & (cause > 0), was_deranked & (cause == 0)
        unsure = block.member & ~was_deranked & (cause == 0) & (memory.tier[slots] == INSUFFICIENT_DATA)
        improved, improved_s = rates.improved(unsure)
        verified = np.where(back, rates.verified(fresh), rates.verified(rates.living) | improved)
        keeps = (memory.tier[slots] == VERIFIED_GOOD) & (rates.living.calls >= self._rule.keep_calls)
        good = verified | (keeps & ~was_deranked)
        tier = np.where(cause > 0, DERANKED, np.where(good, VERIFIED_GOOD, INSUFFICIENT_DATA))
        return _Change(cause, tier.astype(np.int8), newly, back, improved, improved_s)

    def _pauses(self, slots: NDArray[np.intp], change: _Change) -> tuple[exploration.Pauses, exploration.Demand]:
        memory, evidence = self.memory, self._evidence
        nothing = np.nan
        before = exploration.Pauses(
            np.where(change.newly, 0, memory.level[slots]).astype(np.int8),
            np.where(change.newly, nothing, memory.burst_at[slots]),
            np.where(change.newly, nothing, memory.burst_from[slots]),
        )
        calls = np.where(change.newly, 0.0, evidence.burst_calls[slots])
        bad = np.where(change.newly, 0.0, evidence.burst_bad[slots])
        pauses, demand = exploration.paused(self._now, before, (calls, bad), self._rule)
        deranked = change.cause > 0
        return pauses, demand._replace(burst=demand.burst & deranked, steady=demand.steady & deranked)

    def _traffic(self, block: Block) -> exploration.Traffic:
        evidence, slots, member = self._evidence, block.slots, block.member
        offered = (evidence.offered_day[slots] * member).sum(axis=-1, keepdims=True)
        meant = (evidence.meant_day[slots] * member).sum(axis=-1, keepdims=True)
        hour = (evidence.offered_hour[slots] * member).sum(axis=-1, keepdims=True)
        return exploration.Traffic(
            hour / 3600, np.where(offered > 0, meant / np.maximum(offered, 1), 1.0), self._interval_s
        )

    def _tool_calls(
        self,
        block: Block,
        rates: FailureRates,
        convicted: Conviction,
        change: _Change,
        spared: NDArray[np.bool_],
    ) -> SignalColumns:
        """The reasons for each tier, in terms of success rates."""
        memory, slots = self.memory, block.slots
        deranked = change.cause > 0
        kept = deranked & ~change.newly
        by_errors = change.newly & convicted.guilty

        def shown(
            at_once: NDArray[np.float64], frozen: NDArray[np.float64], living: NDArray[np.float64]
        ) -> NDArray[np.float64]:
            return np.where(by_errors, at_once, np.where(kept, frozen[slots], living))

        bad = shown(convicted.evidence.rate(), memory.frozen, rates.living.rate())
        calls = shown(convicted.evidence.calls, memory.frozen_calls, rates.living.calls)
        window_s = shown(convicted.window_s, memory.frozen_window_s, np.broadcast_to(rates.ttl_s, bad.shape))
        wanted = np.broadcast_to(np.ceil(self._rule.good_calls * rates.phi), bad.shape)
        code = np.where(rates.living.calls < wanted, other_signals.FEW_SAMPLES, _UNDECIDED)
        code = np.where(np.isnan(rates.limit), other_signals.FEW_PEERS, code)
        code = np.where(change.tier == VERIFIED_GOOD, other_signals.WITHIN, code)
        code = np.where(change.improved, _RESTARTED, np.where(change.back, _READMITTED, code))
        code = np.where(change.cause & ERRORS > 0, other_signals.BELOW, code)
        code = np.where(spared, _CAPACITY, code)
        code = np.where(block.member, code, SILENT)
        needed = np.where(deranked, self._rule.derank_calls, wanted).astype(np.int64)
        return SignalColumns(
            Signal.TOOL_CALL_SUCCESS,
            1 - bad,
            np.floor(calls).astype(np.int64),
            code,
            1 - rates.peers.median,
            rates.peers.mad,
            1 - rates.limit,
            rates.peers.members,
            needed,
            window_s,
            2,
        )

    def _settle(
        self,
        block: Block,
        rates: FailureRates,
        convicted: Conviction,
        change: _Change,
        pauses: exploration.Pauses,
    ) -> None:
        """Remember what was concluded."""
        memory, now = self.memory, self._now
        slots = block.slots[block.member]
        kept = change.cause > 0

        def store(column: NDArray[np.generic], values: NDArray[np.generic]) -> None:
            column[slots] = np.broadcast_to(values, block.member.shape)[block.member]

        at = block.slots
        epoch = np.minimum(memory.epoch[at], now)
        fresh_from = np.maximum(epoch, self._evidence.fresh_from[at])
        epoch = np.where(change.newly, now, np.where(change.back, fresh_from, epoch))
        epoch = np.where(change.improved, np.maximum(epoch, now - change.improved_s), epoch)
        by_errors = convicted.guilty
        frozen = np.where(by_errors, convicted.evidence.rate(), rates.living.rate())
        frozen_calls = np.where(by_errors, convicted.evidence.calls, rates.living.calls)
        window_s = np.where(by_errors, convicted.window_s, rates.ttl_s)
        store(memory.epoch, epoch)
        store(memory.tier, change.tier)
        store(memory.cause, change.cause)
        store(memory.frozen, np.where(change.newly, frozen, np.where(kept, memory.frozen[at], np.nan)))
        store(memory.frozen_calls, np.where(change.newly, frozen_calls, np.where(kept, memory.frozen_calls[at], 0.0)))
        store(memory.frozen_window_s, np.where(change.newly, window_s, memory.frozen_window_s[at]))
        store(memory.phi, rates.phi)
        store(memory.level, np.where(kept, pauses.level, 0))
        store(memory.burst_at, np.where(kept, pauses.burst_at, np.nan))
        store(memory.burst_from, np.where(kept, pauses.burst_from, np.nan))
