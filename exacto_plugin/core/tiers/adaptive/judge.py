"""The ``adaptive`` preset: tiers from exact tests on failure rates.

A deployment is deranked when one of several windows shows more failures than chance explains, is verified when its
failures are few enough to exclude a rate above its threshold, and keeps its tier in between. A derank restarts the
evidence, and only later calls readmit. Test and threshold are in ``failure_rates``, the numbers in ``parameters``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.tiers.adaptive import due, exploration, other_signals, strictness, suspension
from exacto_plugin.core.tiers.adaptive.answer_success import AnswerSuccess, AnswerTest
from exacto_plugin.core.tiers.adaptive.change import BlockChange, JudgedBlock, tool_call_columns
from exacto_plugin.core.tiers.adaptive.common_cause import common_causes
from exacto_plugin.core.tiers.adaptive.evidence import DAY, HOUR, WINDOWS_S, Evidence
from exacto_plugin.core.tiers.adaptive.failure_rates import DerankTest, FailureRates, failure_rates
from exacto_plugin.core.tiers.adaptive.history import Counts
from exacto_plugin.core.tiers.adaptive.parameters import EXPLORATION_SHARE, AdaptiveParameters
from exacto_plugin.core.tiers.adaptive.refusals import Refusals, learned_limits
from exacto_plugin.core.tiers.adaptive.state import (
    BENCHMARK,
    BROKEN,
    ERRORS,
    PROPENSITY,
    SLOW,
    VERIFIER,
    AdaptiveState,
)
from exacto_plugin.core.tiers.adaptive.suspects import name_suspects
from exacto_plugin.core.tiers.columns import (
    DERANKED,
    INSUFFICIENT_DATA,
    VERIFIED_GOOD,
    Reading,
    TierAssignments,
    write_columns,
)
from exacto_plugin.core.tiers.verifier import VerifierFindings, verifier_findings
from exacto_plugin.core.windows.increments import HistogramKind
from exacto_plugin.core.windows.speed import empty_medians, grow, speed_medians
from exacto_plugin.core.windows.windows import ALL_ROWS, ROWS
from exacto_plugin.core.wire import to_wire

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.columns import Block, TierRule
    from exacto_plugin.core.windows.windows import Rows, WindowBlock

_INTERVAL_S = (1.0, 300.0, 3600.0)
"""Shortest, initial and longest interval of recomputes for probe budgets."""

_JITTER = 0.05
"""Share by which an interval may differ from the last one and count as equal.
A timer is never exact, and another interval gives every deployment with probes other budgets."""


class AdaptiveTierRule:
    """Adaptive rule with its state and the latest measurements."""

    def __init__(self, rule: AdaptiveParameters, exploration_share: float, *, broken_answers: bool = False) -> None:
        self.min_output_tokens = rule.min_output_tokens
        self.reads_checked_callers = broken_answers
        self.state = AdaptiveState()
        self._rule = rule
        self._share = exploration_share
        self._evidence = Evidence()
        self._refusals = Refusals()
        self._answers = AnswerSuccess(rule) if broken_answers else None
        self._hour_speed = empty_medians()
        self._day_speed = empty_medians()
        self._now = 0.0
        self._interval_s = _INTERVAL_S[1]

    def resize(self, slots: int) -> None:
        """Resize the arrays to slots below ``slots``."""
        self.state.resize(slots)
        self._evidence.resize(slots)
        self._refusals.resize(slots)
        if self._answers is not None:
            self._answers.resize(slots)
        self._hour_speed, self._day_speed = grow(self._hour_speed, slots), grow(self._day_speed, slots)

    @property
    def interval_s(self) -> float:
        """Seconds between recomputes, as far as probes depend on them."""
        return self._interval_s

    def measure(self, number: int, window_block: WindowBlock, now: float, rows: Rows = ALL_ROWS) -> None:
        """Read the numbers of some rows."""
        self._note_time(now)
        self._evidence.measure(number, window_block, now, self.state, self._rule, rows)
        if self._answers is not None:
            self._answers.measure(number, window_block, now, rows)
        slots = number * ROWS + np.arange(ROWS)[rows]
        for into, place in ((self._hour_speed, HOUR), (self._day_speed, DAY)):
            modes = HistogramKind.SPEED_STREAMED, HistogramKind.SPEED_WHOLE
            speed = speed_medians(window_block, *modes, now, WINDOWS_S[place], rows, limits_callers=True)
            into.samples[:, slots], into.medians[:, slots] = speed.samples, speed.medians

    def measure_block(self, number: int, window_block: WindowBlock, now: float) -> NDArray[np.bool_]:
        """Read dispersion and refusals of all rows; return those with other numbers."""
        self._note_time(now)
        found = self._evidence.measure_dispersion(number, window_block, now, self.state, self._rule)
        found |= self._refusals.measure(number, window_block, now)
        if self._answers is not None:
            found |= self._answers.measure_dispersion(number, window_block, now)
        return found

    def _note_time(self, now: float) -> None:
        """Set the time of a measurement, and the interval since the last one."""
        if now == self._now:
            return
        shortest, _, longest = _INTERVAL_S
        interval_s = min(max(now - self._now, shortest), longest)
        if self._now and abs(interval_s - self._interval_s) > _JITTER * self._interval_s:
            self._interval_s = interval_s
        self._now = now

    def due_slots(self, widths: Sequence[tuple[int, int]], before: float, now: float) -> NDArray[np.intp]:
        """Return the slots to measure again because of their age; see ``due``."""
        found = due.due_slots(self.state, self._evidence, self._rule, widths, before, now)
        return found if self._answers is None else np.append(found, self._answers.due_slots(widths, before, now))

    def note_limits(self, limits: Mapping[int, float]) -> list[int]:
        """Set the requests a minute that providers report, by slot; 0: unknown."""
        slots = list(limits)
        before = self._refusals.reported[slots].tolist()
        self._refusals.reported[slots] = list(limits.values())
        return [slot for slot, held in zip(slots, before, strict=True) if held != limits[slot]]

    def read(self, slots: NDArray[np.intp]) -> Reading:
        """Return the inputs of ``judge`` for some slots."""
        columns = {name: column[..., slots] for name, column in self._columns().items()}
        return Reading(columns, (self._now, self._interval_s))

    def restore(self, reading: Reading, slots: NDArray[np.intp]) -> None:
        """Replace the measurements by those that ``read`` returned."""
        write_columns(self._columns(), reading.columns, slots)
        self._now, self._interval_s = reading.times

    def _columns(self) -> dict[str, NDArray[np.generic]]:
        paces = {"hour": self._hour_speed, "day": self._day_speed}
        return {
            **{f"memory.{name}": column for name, column in to_wire(self.state).items()},
            **{f"evidence.{name}": column for name, column in to_wire(self._evidence).items()},
            **{f"refusals.{name}": column for name, column in to_wire(self._refusals).items()},
            **{f"{name}.{part}": column for name, pace in paces.items() for part, column in to_wire(pace).items()},
            **({} if self._answers is None else self._answers.columns()),
        }

    def forget(self, slots: Collection[int]) -> None:
        """Erase all data of some slots."""
        self.state.forget(slots)
        self._evidence.forget(slots)
        self._refusals.forget(slots)
        if self._answers is not None:
            self._answers.forget(slots)
        for column in (*self._hour_speed, *self._day_speed):
            column[..., list(slots)] = 0

    def restart(self, slot: int, now: float) -> None:
        """Restart the evidence of a slot whose deployment was replaced now."""
        self.state.restart(slot, now)
        if self._answers is not None:
            self._answers.memory.restart(slot, now)

    def inherit(self, other: TierRule, tier: NDArray[np.int8]) -> None:
        """Take over the state of an adaptive rule, or the tiers of another preset."""
        if isinstance(other, AdaptiveTierRule):
            self.state = other.state
            self._now, self._interval_s = other._now, other._interval_s
            if self._answers is None:
                self.state.cause &= ~BROKEN
            elif other._answers is not None:
                self._answers.memory = other._answers.memory
        else:
            self.state.resize(len(tier))
            self.state.tier[: len(tier)] = tier
            self.state.cause[: len(tier)] = np.where(tier == DERANKED, ERRORS, 0)

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """Return the state of a slot beside the windows, as plain data."""
        return self.state.dump(slot) | ({} if self._answers is None else self._answers.dump(slot))

    def load(self, slot: int, plain: Mapping[str, object]) -> None:
        """Load the state that ``dump`` returned."""
        self.state.load(slot, plain)
        if self._answers is not None:
            self._answers.load(slot, plain, deranked=bool(self.state.cause[slot] & BROKEN))
        elif self.state.cause[slot] == BROKEN:
            self.state.cause[slot], self.state.tier[slot] = 0, INSUFFICIENT_DATA
        else:
            self.state.cause[slot] &= ~BROKEN

    def judge(self, block: Block, scores: Mapping[str, BenchmarkScores]) -> TierAssignments:
        """Assign tiers to a block from the measurements."""
        memory, evidence, slots, rule = self.state, self._evidence, block.slots, self._rule
        rates = failure_rates(block, memory, evidence, rule)
        strict = strictness.StrictThresholds.of(block, memory, rates, evidence.load[slots])
        others = self._other_signals(block, scores, rates)
        runs = verifier_findings(block, scores, memory, self._now, rule.quiet_ttl_s)
        answers = None if self._answers is None else self._answers.test(block)
        if answers is not None:
            others.append((answers.result, BROKEN))
        test, change = self._change(block, rates, strict, others, runs)
        rate = np.where(change.deranked_now, test.evidence.rate(), memory.frozen[slots])
        if self._answers is not None and answers is not None:
            rate = self._answers.worse(block, answers, rate, change.cause)
        backoff, demand = self._probe_backoff(slots, change)
        deranked = change.cause > 0
        relief = exploration.keep_for_capacity(block, deranked, rate, evidence.load[slots], rule)
        tier = np.where(relief.kept, INSUFFICIENT_DATA, change.tier).astype(np.int8)
        still = deranked & ~relief.kept
        demand = demand._replace(in_burst=demand.in_burst & still, is_steady=demand.is_steady & still)
        plan = exploration.plan_probes(block, tier, rates, relief, demand, self._traffic(block), self._share)
        common = common_causes(block, memory, rates.windows, rates.common, rates.phi, self._now)
        limits = learned_limits(block, memory, self._refusals, evidence.load[slots], rule, self._now)
        verdicts = suspension.Verdicts(block, tier, change.by_price, rate, memory.suspended[slots])
        found = suspension.suspend(verdicts, plan.probes, rates, limits)
        columns = tool_call_columns(block, memory, rates, test, change, relief.kept | found.suspended)
        columns = name_suspects(columns, found.tier, rates, plan)
        told = (runs.columns(change.by_run & change.readmitted),) if runs.known.any() else ()
        signals = (columns, *(result.columns for result, _ in others), *told, *found.signals())
        until = due.verdicts_hold_until(block, deranked, backoff, common, limits, runs, self._now)
        by_interval = due.plans_by_interval(block, tier, deranked & ~relief.kept, demand)
        judged = JudgedBlock(block, rates, test, change, backoff, common, found, runs)
        commit = partial(self._commit, judged, answers)
        return TierAssignments(found.tier, signals, found.plan, common, commit, until, by_interval)

    def _other_signals(
        self, block: Block, scores: Mapping[str, BenchmarkScores], rates: FailureRates
    ) -> list[tuple[other_signals.SignalResult, int]]:
        """Return the other signals, each with its bit; 0: only observed."""
        evidence, slots = self._evidence, block.slots
        age_s = self._now - np.minimum(self.state.epoch[slots], self._now)
        paces = other_signals.SpeedWindows(self._hour_speed, self._day_speed, evidence.minutes)
        speed = other_signals.throughput(block, paces, age_s, self._rule)
        offered, meant = evidence.offered_day[slots], evidence.meant_day[slots]
        calling = other_signals.propensity(block, offered, meant, rates.phi, self._rule)
        found = [(speed, SLOW), (calling, PROPENSITY if self._rule.propensity_deranks else 0)]
        if scores:
            found.append((other_signals.benchmark(block, scores), BENCHMARK))
        return found

    def _change(
        self,
        block: Block,
        rates: FailureRates,
        strict: strictness.StrictThresholds,
        others: list[tuple[other_signals.SignalResult, int]],
        runs: VerifierFindings,
    ) -> tuple[DerankTest, BlockChange]:
        memory, evidence, slots = self.state, self._evidence, block.slots
        before = memory.cause[slots]
        was_deranked = before > 0
        test = rates.derank_test(was_deranked, rates.threshold)
        fresh = Counts(evidence.fresh_calls[slots], evidence.fresh_bad[slots])
        recovered = rates.recovered(fresh, strict.readmits)
        found = test.rejected * ERRORS | runs.flagged * VERIFIER
        cause = np.where(was_deranked, runs.after_traffic(before, recovered), found)
        for result, bit in others:
            cause = np.where(was_deranked & result.is_normal, cause & ~bit, cause)
            cause = np.where(~was_deranked & result.is_outlier, cause | bit, cause)
        cause = np.where(block.member, cause, 0).astype(np.int8)
        test, by_price, lifted = strict.derank_by_price(test, cause > 0, was_deranked)
        cause = np.where(lifted, 0, np.where(by_price, cause | ERRORS, cause)).astype(np.int8)
        newly, back = ~was_deranked & (cause > 0), was_deranked & (cause == 0) & ~lifted
        unsure = block.member & ~was_deranked & (cause == 0) & (memory.tier[slots] == INSUFFICIENT_DATA)
        improved, improved_s = rates.improved(unsure)
        counts = (fresh, strict.frozen, rates.within_ttl)
        own = Counts(*(np.where(back, of[0], np.where(lifted, *of[1:])) for of in zip(*counts, strict=True)))
        by_traffic = rates.verified(own) | improved
        verified = by_traffic | runs.cleared & (back | ~rates.exceeded(own))
        keeps = (memory.tier[slots] == VERIFIED_GOOD) & (rates.within_ttl.calls >= self._rule.keep_calls)
        good = verified | (keeps & ~was_deranked)
        tier = np.where(cause > 0, DERANKED, np.where(good, VERIFIED_GOOD, INSUFFICIENT_DATA))
        told = strict.thresholds._replace(by_price=by_price)
        by_run = good & runs.cleared & ~by_traffic & ~(keeps & ~was_deranked)
        tier = tier.astype(np.int8)
        return test, BlockChange(cause, tier, newly, back, improved, improved_s, by_price, lifted, told, by_run)

    def _probe_backoff(
        self, slots: NDArray[np.intp], change: BlockChange
    ) -> tuple[exploration.ProbeBackoff, exploration.ProbeDemand]:
        memory, evidence = self.state, self._evidence
        nothing = np.nan
        before = exploration.ProbeBackoff(
            np.where(change.deranked_now, 0, memory.level[slots]).astype(np.int8),
            np.where(change.deranked_now, nothing, memory.burst_at[slots]),
            np.where(change.deranked_now, nothing, memory.burst_from[slots]),
        )
        calls = np.where(change.deranked_now, 0.0, evidence.burst_calls[slots])
        bad = np.where(change.deranked_now, 0.0, evidence.burst_bad[slots])
        if self._answers is not None:
            calls, bad = self._answers.trial(slots, change, calls, bad)
        backoff, demand = exploration.schedule_trials(self._now, before, (calls, bad), self._rule)
        deranked = change.cause > 0
        return backoff, demand._replace(in_burst=demand.in_burst & deranked, is_steady=demand.is_steady & deranked)

    def _traffic(self, block: Block) -> exploration.GroupTraffic:
        evidence, slots, member = self._evidence, block.slots, block.member
        offered = (evidence.offered_day[slots] * member).sum(axis=-1, keepdims=True)
        meant = (evidence.meant_day[slots] * member).sum(axis=-1, keepdims=True)
        hour = (evidence.offered_hour[slots] * member).sum(axis=-1, keepdims=True)
        return exploration.GroupTraffic(
            hour / 3600, np.where(offered > 0, meant / np.maximum(offered, 1), 1.0), self._interval_s
        )

    def _commit(self, judged: JudgedBlock, answers: AnswerTest | None) -> NDArray[np.intp]:
        """Store the new state of a block; return the slots whose state changed."""
        changed = judged.store(self.state, self._evidence.fresh_from, self._now)
        if self._answers is None or answers is None:
            return changed
        cause = judged.change.cause
        return np.append(changed, self._answers.commit(judged.block, answers, cause, self.state, self._now))


@dataclass(frozen=True, slots=True)
class AdaptivePreset:
    """The adaptive rule together with what it may spend on probes."""

    rule: AdaptiveParameters = field(default_factory=AdaptiveParameters)
    exploration_share: float = EXPLORATION_SHARE
    broken_answers: bool = False
    """True if broken answers derank."""

    def judge(self) -> AdaptiveTierRule:
        """A new judge that follows this rule."""
        return AdaptiveTierRule(self.rule, self.exploration_share, broken_answers=self.broken_answers)

    @property
    def learns_capacity(self) -> bool:
        """True unless ``refusal_hold_s`` is 0."""
        return self.rule.refusal_hold_s > 0
