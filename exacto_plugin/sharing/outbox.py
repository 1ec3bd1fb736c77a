"""One worker's batches: the next one to send, and those kept against a loss.

Pure and bounded. Does no I/O.
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
"""Most deltas that are kept until a saved state contains them (about 15 MB).

Older ones are dropped, and are then lost if the exchange loses them."""


@dataclass(slots=True)
class _Sent:
    batch: Batch
    offset: int


class Outbox:
    """The batches of one worker, at most one of them in flight.

    Args:
        worker: its name.
        take: returns the deltas recorded since its last call.
        limit: most deltas that are kept.
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
        """True while a batch was sent or queued and is not acknowledged."""
        return bool(self._waiting)

    def next(self, watched: tuple[str, ...] = ()) -> Push:
        """Return the next push.

        Its batch is the same one again until it is acknowledged, else the deltas recorded since.
        """
        if not self._waiting and (deltas := self._take()):
            self._sequence += 1
            self._waiting.append(Batch(self._worker, self._sequence, deltas))
        return Push(self._worker, self._held, self._waiting[0] if self._waiting else None, watched)

    def acknowledge(self, push: Push, receipt: Receipt) -> None:
        """Process a receipt.

        An accepted batch is kept until it is saved; batches that the exchange lost are queued again.
        """
        if receipt.accepted:
            self._held = receipt.last_sequence
            if push.batch is not None:
                self._sent.append(_Sent(self._waiting.popleft(), receipt.offset))
            while self._sent and self._sent[0].offset < receipt.saved:
                self._sent.popleft()
            self._forget_surplus()
            return
        self._held = receipt.last_sequence
        lost = [sent.batch for sent in self._sent if sent.batch.sequence > receipt.last_sequence]
        self._sent = deque(sent for sent in self._sent if sent.batch.sequence <= receipt.last_sequence)
        self._waiting = deque([*lost, *(batch for batch in self._waiting if batch.sequence > receipt.last_sequence)])

    def _forget_surplus(self) -> None:
        kept = sum(len(sent.batch.deltas) for sent in self._sent)
        while self._sent and kept > self._limit:
            kept -= len(self._sent.popleft().batch.deltas)
