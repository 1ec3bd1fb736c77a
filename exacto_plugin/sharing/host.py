"""What a replica asks of the process that it belongs to.

Must not say when it is asked; that is :mod:`exacto_plugin.sharing.replica`.
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
        """What was recorded since it was last asked."""
        ...

    def watched(self) -> tuple[str, ...]:
        """Model groups whose percentiles were asked for lately."""
        ...

    def new_common_engine(self) -> Engine:
        """A new engine for everybody's samples, under the rule in force."""
        ...

    async def judge(self, common: Engine, now: float) -> bool:
        """Recompute the common engine for the deployments that are served now; False when it came to nothing."""
        ...

    async def judge_alone(self, now: float) -> None:
        """Recompute from what this process saw and put the result in force here."""
        ...

    async def adopt(self, publication: Publication) -> None:
        """Put a published result in force here."""
        ...

    async def announce(self, common: Engine) -> None:
        """The common engine's last result is in force for everybody: tell people, and write it down, once."""
        ...

    def exchange_unavailable(self, error: ExchangeError) -> None:
        """The exchange could not be asked."""
        ...
