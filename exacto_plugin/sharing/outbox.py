"""One worker's batches on their way: what is sent next, and what is kept in case the exchange loses it.

Pure and bounded. Must not talk to an exchange.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exacto_plugin.sharing.protocol import Batch, Push

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.core.windows.deltas import Delta
    from exacto_plugin.sharing.protocol import Receipt

KEPT_DELTAS = 20_000
"""Deltas that are kept at most until they are part of a saved state (about 15 MB); older ones are unprotected then."""


@dataclass(slots=True)
class _Sent:
    batch: Batch
    offset: int


class Outbox:
    """The batches of one worker, one of them in flight at most.

    Args:
        worker: its name.
        take: gives what was recorded since it was last called.
        limit: deltas that are kept at most.
    """

    def __init__(self, worker: str, take: Callable[[], Sequence[Delta]], limit: int = KEPT_DELTAS) -> None:
        self._worker = worker
        self._take = take
        self._limit = limit
        self._sequence = 0
        self._held = 0
        self._waiting: deque[Batch] = deque()
        self._sent: deque[_Sent] = deque()

    @property
    def in_flight(self) -> bool:
        """Whether it is unknown if everything that was taken has arrived."""
        return bool(self._waiting)

    def next(self, watched: tuple[str, ...] = ()) -> Push:
        """What to send now: the same again until it is known to have arrived, else what was recorded since."""
        if not self._waiting and (deltas := self._take()):
            self._sequence += 1
            self._waiting.append(Batch(self._worker, self._sequence, deltas))
        return Push(self._worker, self._held, self._waiting[0] if self._waiting else None, watched)

    def acknowledge(self, push: Push, receipt: Receipt) -> None:
        """The exchange answered: keep what arrived until it is saved, or send again what the exchange lost."""
        if receipt.accepted:
            self._held = receipt.held
            if push.batch is not None:
                self._sent.append(_Sent(self._waiting.popleft(), receipt.offset))
            while self._sent and self._sent[0].offset < receipt.saved:
                self._sent.popleft()
            self._forget_surplus()
            return
        self._held = receipt.held
        lost = [sent.batch for sent in self._sent if sent.batch.sequence > receipt.held]
        self._sent = deque(sent for sent in self._sent if sent.batch.sequence <= receipt.held)
        self._waiting = deque([*lost, *(batch for batch in self._waiting if batch.sequence > receipt.held)])

    def _forget_surplus(self) -> None:
        kept = sum(len(sent.batch.deltas) for sent in self._sent)
        while self._sent and kept > self._limit:
            kept -= len(self._sent.popleft().batch.deltas)
