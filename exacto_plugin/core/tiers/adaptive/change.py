"""Changes of a recompute in a block, their reasons, and the state that they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.model import Signal
from exacto_plugin.core.tiers.adaptive.state import ERRORS
from exacto_plugin.core.tiers.columns import VERIFIED_GOOD
from exacto_plugin.core.tiers.signals import (
    BELOW,
    CAPACITY,
    FEW_PEERS,
    FEW_SAMPLES,
    NO_REASON,
    READMITTED,
    RESTARTED,
    UNDECIDED,
    WITHIN,
    SignalColumns,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.common_cause import CommonCauses
    from exacto_plugin.core.tiers.adaptive.exploration import ProbeBackoff
    from exacto_plugin.core.tiers.adaptive.failure_rates import DerankTest, FailureRates
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.adaptive.suspension import Suspension
    from exacto_plugin.core.tiers.columns import Block
    from exacto_plugin.core.tiers.signals import Strictness
    from exacto_plugin.core.tiers.verifier import VerifierFindings


class BlockChange(NamedTuple):
    """Changes in a block, ``[group, deployment]``."""

    cause: NDArray[np.int8]
    tier: NDArray[np.int8]
    """Tier by the measurements, without capacity relief."""
    deranked_now: NDArray[np.bool_]
    """Deranked by this recompute."""
    readmitted: NDArray[np.bool_]
    """Readmitted by this recompute."""
    improved: NDArray[np.bool_]
    """Evidence restarted because of a sudden improvement."""
    improved_s: NDArray[np.float64]
    by_price: NDArray[np.bool_]
    """Deranked only because bad calls have a price; all that are so."""
    lifted: NDArray[np.bool_]
    """Out by price until this recompute, which takes it back."""
    strictness: Strictness
    by_run: NDArray[np.bool_]
    """Good by a run of the verifier alone, not by traffic."""


def tool_call_columns(
    block: Block,
    state: AdaptiveState,
    rates: FailureRates,
    test: DerankTest,
    change: BlockChange,
    relieved: NDArray[np.bool_],
) -> SignalColumns:
    """Return the reasons of tool calls for each tier, as success rates.

    ``relieved`` deployments stay in the pool although they would be deranked.
    """
    rule = rates.rule
    bad, calls, window_s = _reported_rates(block.slots, state, rates, test, change)
    wanted = np.broadcast_to(np.ceil(rule.good_calls * rates.phi), bad.shape)
    code = np.where(relieved, CAPACITY, _codes(rates, change, wanted))
    return SignalColumns(
        Signal.TOOL_CALL_SUCCESS,
        1 - bad,
        np.floor(calls).astype(np.int64),
        np.where(block.member, code, NO_REASON),
        1 - rates.peers.median,
        rates.peers.mad,
        1 - np.where(change.by_price, change.strictness.convicts, rates.threshold),
        rates.peers.members,
        np.where(change.cause > 0, rule.derank_calls, wanted).astype(np.int64),
        window_s,
        2,
        change.strictness if rule.bad_call_price else None,
    )


def _reported_rates(
    slots: NDArray[np.intp], state: AdaptiveState, rates: FailureRates, test: DerankTest, change: BlockChange
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return failure rates, calls and windows: those at the derank, else the latest."""
    by_errors = change.deranked_now & test.rejected
    still = (change.cause > 0) & ~change.deranked_now

    def reported(
        tested: NDArray[np.float64], frozen: NDArray[np.float64], latest: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.where(by_errors, tested, np.where(still, frozen[slots], latest))

    return (
        reported(test.evidence.rate(), state.frozen, rates.within_ttl.rate()),
        reported(test.evidence.calls, state.frozen_calls, rates.within_ttl.calls),
        reported(test.window_s, state.frozen_window_s, np.broadcast_to(rates.ttl_s, slots.shape)),
    )


def _codes(rates: FailureRates, change: BlockChange, wanted: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the reason codes of tool calls; a later condition takes precedence."""
    code = np.where(rates.within_ttl.calls < wanted, FEW_SAMPLES, UNDECIDED)
    code = np.where(np.isnan(rates.threshold), FEW_PEERS, code)
    code = np.where((change.tier == VERIFIED_GOOD) & ~change.by_run, WITHIN, code)
    readmitted = change.readmitted & ~change.by_run
    code = np.where(change.improved, RESTARTED, np.where(readmitted, READMITTED, code))
    return np.where(change.cause & ERRORS > 0, BELOW, code)


class JudgedBlock(NamedTuple):
    """Results of judging a block from which its new state follows.

    It is stored when the snapshot comes into force.
    """

    block: Block
    rates: FailureRates
    test: DerankTest
    change: BlockChange
    backoff: ProbeBackoff
    common: CommonCauses
    suspension: Suspension
    runs: VerifierFindings

    def store(self, memory: AdaptiveState, fresh_from: NDArray[np.float64], now: float) -> NDArray[np.intp]:
        """Store the new state of the block.

        Args:
            memory: the rule's state.
            fresh_from: starts of the latest calls, by slot; see ``Evidence``.
            now: time of the recompute.

        Returns:
            The slots whose state changed.
        """
        block, rates, test, change, backoff = self[:5]
        at, slots, kept = block.slots, block.slots[block.member], change.cause > 0
        before = memory.read(slots)
        self.common.store(block, memory)
        self.suspension.store(memory)

        def store(column: NDArray[np.generic], values: NDArray[np.generic]) -> None:
            column[slots] = np.broadcast_to(values, block.member.shape)[block.member]

        by_errors = test.rejected
        frozen = np.where(by_errors, test.evidence.rate(), rates.within_ttl.rate())
        frozen_calls = np.where(by_errors, test.evidence.calls, rates.within_ttl.calls)
        window_s = np.where(by_errors, test.window_s, rates.ttl_s)
        store(memory.epoch, self._epochs(memory, fresh_from, now))
        store(memory.tier, change.tier)
        store(memory.cause, change.cause)
        store(memory.frozen, np.where(change.deranked_now, frozen, np.where(kept, memory.frozen[at], np.nan)))
        frozen_calls = np.where(change.deranked_now, frozen_calls, np.where(kept, memory.frozen_calls[at], 0.0))
        store(memory.frozen_calls, frozen_calls)
        store(memory.frozen_window_s, np.where(change.deranked_now, window_s, memory.frozen_window_s[at]))
        store(memory.phi, rates.phi)
        store(memory.level, np.where(kept, backoff.level, 0))
        store(memory.burst_at, np.where(kept, backoff.burst_at, np.nan))
        store(memory.burst_from, np.where(kept, backoff.burst_from, np.nan))
        store(memory.by_price, change.by_price)
        return slots[memory.differs(before, slots)]

    def _epochs(self, memory: AdaptiveState, fresh_from: NDArray[np.float64], now: float) -> NDArray[np.float64]:
        """Return the start of each deployment's evidence."""
        at, change = self.block.slots, self.change
        epoch = np.minimum(memory.epoch[at], now)
        fresh = np.where(change.by_run, self.runs.started, np.maximum(epoch, fresh_from[at]))
        epoch = np.where(change.deranked_now, now, np.where(change.readmitted, fresh, epoch))
        epoch = np.where(change.improved, np.maximum(epoch, now - change.improved_s), epoch)
        # The calls that convicted by price count again.
        return np.where(change.lifted, epoch - memory.frozen_window_s[at], epoch)
