"""Interfaces around a replica: the exchange, and the host, its own process.

An exchange is storage shared by all processes, Redis or database. No shared data contains a caller, a tool or a prompt:
batches hold integers under the names of model groups and deployments. Leadership and timing are decided in
:mod:`exacto_plugin.sharing.replica`.

Each batch is counted once: a worker numbers its batches and sends one at a time; the exchange keeps the number of the
last one it holds and refuses any batch that does not follow it; a reader skips batches that it has read, by worker and
number. So the same batch may be sent again after a timeout, and all batches that are not saved yet may be sent again
after the exchange lost them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import Snapshot
    from exacto_plugin.core.windows.deltas import Delta

    Remembered = Mapping[str, Mapping[str, Mapping[str, float | int | str | None]]]
    """The type of ``Engine.dump``."""


class ExchangeError(ExactoError):
    """The exchange failed or did not answer in time.

    Each process goes on alone until it answers.
    """


class UnreadableError(ExchangeError):
    """The stored data are in a form that this version cannot read."""


class LostLeaseError(ExchangeError):
    """Another worker leads by now, so that nothing was published or saved."""


class Batch(NamedTuple):
    """The deltas that one worker recorded between two pushes."""

    worker: str
    """A random name of the process; never reused by another one."""
    sequence: int
    """1, 2, 3, ...; there may be gaps, but never a smaller number after a larger one."""
    deltas: Sequence[Delta]


class Push(NamedTuple):
    """A worker's heartbeat, with a batch unless there is nothing new."""

    worker: str
    previous: int
    """Number of the last batch of this worker that the exchange should hold.

    0 for none."""
    batch: Batch | None = None
    watched: tuple[str, ...] = ()
    """Model groups with recent percentile requests at this worker."""


class Receipt(NamedTuple):
    """The exchange's answer to a push."""

    accepted: bool
    """False: the exchange holds another last batch than ``previous``.

    It lost some, and did not add this one."""
    last_sequence: int
    """Number of the last batch that it holds of this worker."""
    offset: int
    """Position of the batch.

    Positions grow with time, and nothing is ever added below a position that was read."""
    saved: int
    """Everything below this position is part of the saved state.

    A new leader begins with that state."""
    leader: str
    """The worker whose lease holds; empty when there is none."""
    publication: str
    """The id of the snapshot that was published last; empty without one."""


class Claim(NamedTuple):
    """One worker's request for the lease, or for its renewal."""

    worker: str
    token: int = 0
    """Of its last lease; 0 without one."""
    renewals: int = 0
    """Of its last renewal; a lower one in the exchange means that it was restored."""
    is_prepared: bool = False
    """True when the worker has counted all batches so far.

    It can then begin at once in an exchange without a saved state; other workers have to wait some seconds."""


class Lease(NamedTuple):
    """The right to publish and save, with an end."""

    token: int
    """Rises with every new holder; a write with a lower one is refused."""
    renewals: int
    """Rises with every renewal."""
    exchange_reset: bool = False
    """True when the exchange has lost this holder's earlier writes.

    The holder must read, publish and save everything again."""


class Pulled(NamedTuple):
    """Batches in order of their positions."""

    batches: Sequence[Batch]
    position: int
    """Position to continue from."""
    more: bool
    """True when there are further batches."""


class Membership(NamedTuple):
    """The workers active in the last seconds, and the watched model groups."""

    workers: tuple[str, ...]
    """In alphabetical order."""
    watched: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publication:
    """One recompute's result, for all workers."""

    snapshot: Snapshot
    remembered: Remembered
    """The result of ``Engine.dump`` after it; a worker alone continues from it."""
    workers: tuple[str, ...] = ()
    """Workers that share the budgets of this snapshot, in alphabetical order."""


@dataclass(frozen=True, slots=True)
class State:
    """The saved state that the next leader begins with."""

    position: int
    """Batches from this position on are not part of it."""
    read: Mapping[str, int]
    """Worker -> number of the last batch that is part of it."""
    remembered: Remembered
    windows: Iterable[tuple[str, Mapping[str, bytes]]]
    """Pairs of model group and the result of ``Engine.dump_windows``.

    May be a slow generator, so it is iterated in a thread beside the event loop."""


class Exchange(Protocol):
    """Shared storage for all processes.

    Every call has a time limit and raises an ``ExchangeError`` when it fails.
    """

    @property
    def name(self) -> str:
        """Name for display: ``redis``, ``store``."""
        ...

    async def push(self, push: Push) -> Receipt:
        """Send a batch and a heartbeat.

        A batch whose number is held already is accepted and not added again.
        """
        ...

    async def claim(self, claim: Claim) -> Lease | None:
        """Get or renew the lease; None while another worker holds it or has precedence.

        A claim whose answer did not arrive is made again, with the same token, and gets the same answer.
        """
        ...

    async def pull(self, position: int) -> Pulled:
        """Read all workers' batches from a position on, perhaps not all at once.

        The own ones are included.
        """
        ...

    async def membership(self) -> Membership:
        """Return the active workers and the watched model groups."""
        ...

    async def publish(self, lease: Lease, publication: Publication) -> None:
        """Put a result in force for all workers.

        Raises:
            LostLeaseError: the lease is not the newest one.
        """
        ...

    async def latest(self) -> Publication | None:
        """Return the result in force."""
        ...

    async def save(self, lease: Lease, state: State) -> None:
        """Replace the saved state atomically and delete the batches in it.

        Raises:
            LostLeaseError: the lease is not the newest one.
        """
        ...

    async def load(self) -> State | None:
        """Return the saved state; None without one."""
        ...

    async def aclose(self) -> None:
        """Close connections and, if it can be done quickly, release the lease."""
        ...


class Host(Protocol):
    """The process around a replica.

    The replica decides when the operations are called.
    """

    def take_deltas(self) -> Sequence[Delta]:
        """Return the deltas recorded since the last call."""
        ...

    def watched(self) -> tuple[str, ...]:
        """Return the model groups with recent percentile requests."""
        ...

    def new_common_engine(self) -> Engine:
        """Create an engine for all workers' samples, under the rule in force."""
        ...

    async def recompute(self, common: Engine, now: float) -> bool:
        """Recompute the common engine for the deployments that are served now.

        Returns:
            False when there was no result.
        """
        ...

    async def recompute_alone(self, now: float) -> None:
        """Recompute from this process's samples and put the result in force here."""
        ...

    async def adopt(self, publication: Publication) -> None:
        """Put a published result in force here."""
        ...

    async def announce(self, common: Engine) -> None:
        """Log and record the common engine's last result, once.

        It is in force for all workers.
        """
        ...

    def exchange_unavailable(self, error: ExchangeError) -> None:
        """Note that the exchange is unavailable."""
        ...
