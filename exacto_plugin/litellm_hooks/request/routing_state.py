"""The routing of one request: its policy, and the newest decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exacto_plugin.core.model import Sort

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.model import Candidate
    from exacto_plugin.core.routing.policy import Policy
    from exacto_plugin.litellm_hooks.refusal import Refusal


@dataclass(slots=True)
class RoutingState:
    """The policy of the newest attempt, and the decision about it."""

    policy: Policy | None = None
    """None before the hard filters were applied."""
    decision: Decision | None = None
    snapshot_id: str = ""
    """Snapshot of the decision; empty without one."""
    candidates: Mapping[str, Candidate] = field(default_factory=dict)
    """LiteLLM id -> candidate."""
    refusals: list[Refusal] = field(default_factory=list)
    """Refusals of this request.

    Fallbacks of a refused model may still have served it.
    """
    may_move: bool = False
    """True when a stream could change its deployment after its headers were sent."""
    span: tuple[str, str] | None = None
    """Trace and span that were current at the decision.

    Empty strings without a span; None before the decision.
    """

    @property
    def reported_sort(self) -> Sort:
        """Sort that is reported to clients.

        ``none`` where nothing was sorted: tiers are only observed, off, or not asked for without tools. With a refusal,
        the requested sort.
        """
        applied = self.decision is not None and self.decision.applied
        return self.policy.sort if self.policy is not None and (applied or self.refusals) else Sort.NONE
