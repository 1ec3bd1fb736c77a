"""The state that a verdict leaves behind, stored when its snapshot comes into force."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.adaptive.change import BlockChange
    from exacto_plugin.core.tiers.adaptive.common_cause import CommonCauses
    from exacto_plugin.core.tiers.adaptive.exploration import ProbeBackoff
    from exacto_plugin.core.tiers.adaptive.failure_rates import DerankTest, FailureRates
    from exacto_plugin.core.tiers.adaptive.state import AdaptiveState
    from exacto_plugin.core.tiers.adaptive.suspension import Suspension
    from exacto_plugin.core.tiers.columns import Block
    from exacto_plugin.core.tiers.verifier import VerifierFindings


class JudgedBlock(NamedTuple):
    """Results of judging a block from which its new state follows."""

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
