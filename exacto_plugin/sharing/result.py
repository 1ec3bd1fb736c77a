"""The result in force in one process, and announcements of its own results."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.sharing.protocol import Host, Publication


class PendingAnnouncement(NamedTuple):
    """A result of this process, not yet announced: it may not be in force."""

    id: str
    """Of its snapshot."""
    common: Engine
    """The engine that computed it.

    It computes no other result before this one is announced or dropped."""


class ResultInForce:
    """The publication that this process adopted last.

    Args:
        host: the process.
        now: UTC seconds.
    """

    def __init__(self, host: Host, now: float) -> None:
        self.publication: Publication | None = None
        """None before the first one."""
        self.snapshot_id = ""
        """Of its snapshot; empty before the first one."""
        self.at = now
        """UTC seconds since which it counts as in force; without one, of the start."""
        self.workers = 1
        """Number of workers that share its budgets."""
        self._host = host
        self._pending: PendingAnnouncement | None = None

    async def adopt(self, publication: Publication, now: float) -> None:
        """Put a publication in force in this process."""
        await self._host.adopt(publication)
        self.publication, self.snapshot_id = publication, publication.snapshot.id
        self.at = now
        self.workers = max(1, len(publication.workers))

    def await_announcement(self, common: Engine) -> None:
        """Note the last result of the common engine, which is not in force yet."""
        self._pending = PendingAnnouncement(common.measured.id, common)

    def drop_announcement(self) -> None:
        """Drop the result noted last, because it is not in force and no longer can be."""
        self._pending = None

    async def announce(self, in_force: str) -> None:
        """Announce this process's result if it is the one in force.

        When a publication fails, it is not known if it took effect until the lease holds and it is repeated, or the
        exchange reports the result in force. If another worker leads by then and another result is in force, this
        process's result never was (an old lease is refused from then on): the new leader recomputes from the state
        before it, so that it finds and announces the same changes itself. If this process's result is in force, the new
        leader continues from it and announces none of its changes, so that this process does. An announcement is lost
        only if the result took effect while this process had lost contact and was replaced before it could check, an
        interval later, or if this process was killed.
        """
        pending = self._pending
        if pending is not None and pending.id == in_force:
            self._pending = None
            await self._host.announce(pending.common)
