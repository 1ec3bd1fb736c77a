"""The operations that a replica needs of its process.

When they are called is decided in :mod:`exacto_plugin.sharing.replica`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.windows.deltas import Delta
    from exacto_plugin.sharing.protocol import ExchangeError, Publication


class Host(Protocol):
    """The process around a replica."""

    def take_deltas(self) -> Sequence[Delta]:
        """Return the deltas recorded since the last call."""
        ...

    def watched(self) -> tuple[str, ...]:
        """Return the model groups with recent percentile requests."""
        ...

    def new_common_engine(self) -> Engine:
        """Create an engine for all workers' samples, under the rule in force."""
        ...

    async def judge(self, common: Engine, now: float) -> bool:
        """Recompute the common engine for the deployments that are served now.

        Returns:
            False when there was no result.
        """
        ...

    async def judge_alone(self, now: float) -> None:
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
