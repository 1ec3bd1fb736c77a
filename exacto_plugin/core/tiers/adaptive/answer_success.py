"""Broken answers as a signal: the tests of tool calls on all routed answers.

An answer is *broken* when no client can use it, by the provider's fault. Windows, tails, thresholds from the other
deployments, limits of every caller, common causes and the way back are those of tool calls (``failure_rates``), on
other counters; it has a memory of its own. Two things are simpler: answers count for three days in quiet groups as
well, and no kind of request is expected to break more often.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Signal
from exacto_plugin.core.tiers.adaptive.due import due_slots
from exacto_plugin.core.tiers.adaptive.evidence import Evidence
from exacto_plugin.core.tiers.adaptive.failure_rates import failure_rates
from exacto_plugin.core.tiers.adaptive.history import ANSWERS, THREE_DAYS_S, Counts
from exacto_plugin.core.tiers.adaptive.other_signals import SignalResult
from exacto_plugin.core.tiers.adaptive.state import BROKEN, ERRORS, AdaptiveState
from exacto_plugin.core.tiers.columns import DERANKED, INSUFFICIENT_DATA
from exacto_plugin.core.tiers.signals import SignalColumns, reason_codes
from exacto_plugin.core.wire import to_wire

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.change import BlockChange
    from exacto_plugin.core.tiers.adaptive.failure_rates import DerankTest, FailureRates
    from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
    from exacto_plugin.core.tiers.columns import Block
    from exacto_plugin.core.windows.windows import Rows, WindowBlock

    Floats = NDArray[np.float64]

_PREFIX = "answers."
"""Of the fields of this signal's memory in the saved state of a deployment."""

_SAVED = ("epoch", "frozen", "frozen_calls", "frozen_window_s", "phi")


class AnswerTest(NamedTuple):
    """The test of a block."""

    rates: FailureRates
    test: DerankTest
    result: SignalResult


class AnswerSuccess:
    """The signal with its memory and its measurements, by slot."""

    def __init__(self, rule: AdaptiveParameters) -> None:
        self._rule = replace(rule, quiet_ttl_s=THREE_DAYS_S, bad_call_price=0.0)
        self.memory = AdaptiveState()
        self.evidence = Evidence(ANSWERS)

    def resize(self, slots: int) -> None:
        """Resize the arrays to slots below ``slots``."""
        self.memory.resize(slots)
        self.evidence.resize(slots)

    def forget(self, slots: Collection[int]) -> None:
        """Erase all data of some slots."""
        self.memory.forget(slots)
        self.evidence.forget(slots)

    def measure(self, number: int, window_block: WindowBlock, now: float, rows: Rows) -> None:
        """Read the answers of some rows."""
        self.evidence.measure(number, window_block, now, self.memory, self._rule, rows)

    def measure_dispersion(self, number: int, window_block: WindowBlock, now: float) -> NDArray[np.bool_]:
        """Read the dispersion of all rows; return those with another one."""
        return self.evidence.measure_dispersion(number, window_block, now, self.memory, self._rule)

    def due_slots(self, widths: Sequence[tuple[int, int]], before: float, now: float) -> NDArray[np.intp]:
        """Return the slots to measure again because of their age; see ``due``."""
        return due_slots(self.memory, self.evidence, self._rule, widths, before, now)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the inputs of ``test``, by name."""
        return {
            **{f"answers.memory.{name}": column for name, column in to_wire(self.memory).items()},
            **{f"answers.evidence.{name}": column for name, column in to_wire(self.evidence).items()},
        }

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """Return a deployment's memory as plain data."""
        plain = self.memory.dump(slot)
        return {f"{_PREFIX}{name}": plain[name] for name in _SAVED}

    def load(self, slot: int, plain: Mapping[str, object], *, deranked: bool) -> None:
        """Load what ``dump`` returned; ``deranked`` for broken answers or not."""
        held = {name: plain[f"{_PREFIX}{name}"] for name in _SAVED if f"{_PREFIX}{name}" in plain}
        self.memory.load(slot, {**held, "cause": ERRORS if deranked else 0})
        self.memory.tier[slot] = DERANKED if deranked else INSUFFICIENT_DATA

    def test(self, block: Block) -> AnswerTest:
        """Test the answers of a block."""
        memory, evidence, slots = self.memory, self.evidence, block.slots
        rates = failure_rates(block, memory, evidence, self._rule)
        out = memory.cause[slots] > 0
        test = rates.derank_test(out, rates.threshold)
        fresh = Counts(evidence.fresh_calls[slots], evidence.fresh_bad[slots])
        back = ~out | rates.recovered(fresh, rates.threshold)
        return AnswerTest(rates, test, SignalResult(self._told(block, rates, test, out & ~back), test.rejected, back))

    def _told(self, block: Block, rates: FailureRates, test: DerankTest, still: NDArray[np.bool_]) -> SignalColumns:
        """Return the reasons, as success rates: those of the derank, else the latest."""
        memory, slots = self.memory, block.slots

        def told(tested: Floats, frozen: Floats, latest: Floats) -> Floats:
            return np.where(test.rejected, tested, np.where(still, frozen[slots], latest))

        bad = told(test.evidence.rate(), memory.frozen, rates.within_ttl.rate())
        answers = told(test.evidence.calls, memory.frozen_calls, rates.within_ttl.calls)
        ttl_s = np.broadcast_to(rates.ttl_s, slots.shape)
        enough = still | test.rejected | (rates.within_ttl.calls >= self._rule.derank_calls)
        return SignalColumns(
            Signal.ANSWER_SUCCESS,
            1 - bad,
            np.floor(answers).astype(np.int64),
            reason_codes(block.member, still | test.rejected, enough, np.isnan(rates.threshold)),
            1 - rates.peers.median,
            rates.peers.mad,
            1 - rates.threshold,
            rates.peers.members,
            np.full(len(block.groups), self._rule.derank_calls),
            told(test.window_s, memory.frozen_window_s, ttl_s),
            2,
        )

    def worse(self, block: Block, found: AnswerTest, rate: Floats, cause: NDArray[np.int8]) -> Floats:
        """Return the larger of a failure rate and the convicting rate of broken answers."""
        memory, slots = self.memory, block.slots
        broken = np.where(found.test.rejected, found.test.evidence.rate(), memory.frozen[slots])
        return np.where(cause & BROKEN > 0, np.fmax(rate, broken), rate)

    def trial(self, slots: NDArray[np.intp], change: BlockChange, calls: Floats, bad: Floats) -> tuple[Floats, Floats]:
        """Return calls and failures of trials, with answers where they are the reason."""
        here = (change.cause & BROKEN > 0) & ~change.deranked_now
        answers, broken = self.evidence.burst_calls[slots], self.evidence.burst_bad[slots]
        return np.where(here, np.maximum(calls, answers), calls), np.where(here, bad + broken, bad)

    def commit(
        self, block: Block, found: AnswerTest, cause: NDArray[np.int8], outer: AdaptiveState, now: float
    ) -> NDArray[np.intp]:
        """Store the new memory of a block; return the slots whose memory changed.

        Args:
            block: the block.
            found: its test.
            cause: the reasons of each derank from now on.
            outer: the rule's state, already stored.
            now: time of the recompute.
        """
        memory, slots, member = self.memory, block.slots, block.member
        held_before = memory.read(slots[member])
        before, after = memory.cause[slots] > 0, cause & BROKEN > 0
        newly, back = after & ~before, before & ~after
        tested, latest = found.test, found.rates.within_ttl

        def store(column: NDArray[np.generic], values: NDArray[np.generic]) -> None:
            column[slots[member]] = np.broadcast_to(values, member.shape)[member]

        def frozen(of_test: Floats, of_latest: Floats, held: Floats, nothing: float) -> Floats:
            entering = np.where(tested.rejected, of_test, of_latest)
            return np.where(newly, entering, np.where(after, held[slots], nothing))

        epoch = np.minimum(memory.epoch[slots], now)
        fresh_from = np.maximum(epoch, self.evidence.fresh_from[slots])
        store(memory.frozen, frozen(tested.evidence.rate(), latest.rate(), memory.frozen, np.nan))
        store(memory.frozen_calls, frozen(tested.evidence.calls, latest.calls, memory.frozen_calls, 0.0))
        ttl_s = np.broadcast_to(found.rates.ttl_s, slots.shape)
        store(memory.frozen_window_s, frozen(tested.window_s, ttl_s, memory.frozen_window_s, 0.0))
        store(memory.epoch, np.where(newly, now, np.where(back, fresh_from, epoch)))
        store(memory.phi, found.rates.phi)
        store(memory.cause, after * np.int8(ERRORS))
        store(memory.tier, np.where(after, DERANKED, INSUFFICIENT_DATA).astype(np.int8))
        store(memory.burst_from, np.where(after, outer.burst_from[slots], np.nan))
        return slots[member][memory.differs(held_before, slots[member])]
