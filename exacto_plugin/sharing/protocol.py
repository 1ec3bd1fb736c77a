"""What the processes of one installation need of a place in common, whatever it is: Redis or a database.

Nothing that is exchanged names a caller, a tool or a prompt: batches hold integers under the names of model groups and
deployments. Must not decide who leads, what is pushed or when; that is :mod:`exacto_plugin.sharing.replica`.

How each batch is counted once: a worker numbers its batches and sends one at a time; the exchange keeps the number of
the last one it holds and refuses whatever does not follow it; whoever reads skips what it has read, by worker and
number. So the same batch may be sent again after a timeout, and everything that is not saved yet after the exchange
lost it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exacto_plugin.core.model import Snapshot
    from exacto_plugin.core.windows.deltas import Delta

    Remembered = Mapping[str, Mapping[str, Mapping[str, float | int | str | None]]]
    """What ``Engine.dump`` gives."""


class ExchangeError(ExactoError):
    """The place in common could not be asked, or did not answer in time: processes go on alone until it does."""


class UnreadableError(ExchangeError):
    """What lies there is nothing that this version can read."""


class LostLeaseError(ExchangeError):
    """Somebody else leads by now, so that nothing was published or saved."""


class Batch(NamedTuple):
    """What one worker recorded in some seconds."""

    worker: str
    """A random name of the process; never used again by another one."""
    sequence: int
    """1, 2, 3, ...; there may be gaps, but never a smaller number after a larger one."""
    deltas: Sequence[Delta]


class Push(NamedTuple):
    """A worker's sign of life, with a batch unless there is nothing new."""

    worker: str
    previous: int
    """The number of the last batch that the exchange should hold of this worker; 0 for none."""
    batch: Batch | None = None
    watched: tuple[str, ...] = ()
    """Model groups whose percentiles somebody asked this worker for lately."""


class Receipt(NamedTuple):
    """What an exchange answers to a push."""

    accepted: bool
    """False: the exchange holds another batch than ``previous`` as the last one (it lost some), and took nothing."""
    held: int
    """The number of the last batch it holds of this worker."""
    offset: int
    """Where the batch lies; places grow with time, and nothing is ever put below a place that was read."""
    saved: int
    """Everything below this place is part of the saved state, which a new leader would begin with."""
    leader: str
    """The worker whose lease holds; empty when there is none."""
    publication: str
    """The id of the snapshot that was published last; empty without one."""


class Claim(NamedTuple):
    """One worker's wish to lead, or to go on leading."""

    worker: str
    token: int = 0
    """Of its last lease; 0 without one."""
    renewals: int = 0
    """Of its last renewal; an exchange that holds a lower one went back in time."""
    is_prepared: bool = False
    """It has counted everybody's batches so far, so that it can begin at once in an exchange without a saved state;
    others are given some seconds to come first."""


class Lease(NamedTuple):
    """The right to publish and save until it ends."""

    token: int
    """Rises with every new holder; what carries a lower one is refused."""
    renewals: int
    """Rises with every renewal."""
    exchange_reset: bool = False
    """The exchange forgot what this holder had done before: read everything again, publish and save again."""


class Pulled(NamedTuple):
    """Batches in the order of their places."""

    batches: Sequence[Batch]
    position: int
    """Where to go on."""
    more: bool
    """Further batches lie there already."""


class Membership(NamedTuple):
    """Who took part in the last seconds, and what they were asked for."""

    workers: tuple[str, ...]
    """In alphabetical order."""
    watched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """One recompute's result, for everybody."""

    snapshot: Snapshot
    remembered: Remembered
    """What ``Engine.dump`` gave after it: whoever has to judge alone goes on from there."""
    workers: tuple[str, ...] = ()
    """Who shares the budgets of this snapshot, in alphabetical order."""


@dataclass(frozen=True, slots=True)
class State:
    """What the next leader begins with."""

    position: int
    """Batches from this place on are not part of it."""
    read: Mapping[str, int]
    """Worker -> number of the last batch that is part of it."""
    remembered: Remembered
    windows: Iterable[tuple[str, Mapping[str, bytes]]]
    """Model group and what ``Engine.dump_windows`` gives; may be a generator that takes its time, so it is gone through
    in a thread beside the event loop."""


class Exchange(Protocol):
    """A place in common. Every call is bounded in time and raises an ``ExchangeError`` when it cannot be done."""

    @property
    def name(self) -> str:
        """What it is, for people: ``redis``, ``store``."""
        ...

    async def push(self, push: Push) -> Receipt:
        """Leave a batch and a sign of life; a batch whose number is held already is accepted and not added again."""
        ...

    async def claim(self, claim: Claim) -> Lease | None:
        """Get or renew the lease; None while somebody else holds it or may come first.

        A claim whose answer did not arrive is made again, with the same token, and gets the same answer.
        """
        ...

    async def pull(self, position: int) -> Pulled:
        """Everybody's batches from a position on, own ones included, perhaps not all at once."""
        ...

    async def membership(self) -> Membership:
        """Who takes part."""
        ...

    async def publish(self, lease: Lease, publication: Publication) -> None:
        """Put a result in force for everybody; a ``LostLeaseError`` when the lease is not the newest one."""
        ...

    async def latest(self) -> Publication | None:
        """The result in force."""
        ...

    async def save(self, lease: Lease, state: State) -> None:
        """Replace the saved state, wholly or not at all, and let go of the batches in it; errors as ``publish``."""
        ...

    async def load(self) -> State | None:
        """The saved state; None without one."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and, as far as it can be done quickly, of the lease."""
        ...
