"""Records of one routing decision: its ordering, and where the conversation runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exacto_plugin.core.model import DeploymentKey, LiteLLMId, Sort, Tier


@dataclass(slots=True)
class AffinityTarget:
    """Deployment of the conversation that a request belongs to.

    Never changed, though not frozen; see :class:`Decision`.
    """

    id: LiteLLMId
    is_new: bool = False
    """The first turn of a conversation that begins in the same way as a known one."""
    from_probe: bool = False
    """The conversation began with a probe of the deployment."""
    pinned: bool = False
    """Only this deployment can decode it (encrypted reasoning, stored response)."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One candidate with its rank in the decision; equal ranks share a pool."""

    id: LiteLLMId
    key: DeploymentKey
    rank: int
    tier: Tier


@dataclass(slots=True)
class Decision:
    """Ordering of the deployments for one attempt.

    Never changed, though not frozen: one takes 0.6 us to make, and 2.7 us if its class is frozen.
    """

    policy: Sort
    ranking: tuple[Ranked, ...]
    """Every candidate, best rank first; stable inside a rank."""
    pool: tuple[LiteLLMId, ...]
    """LiteLLM ids that this attempt may use; never empty if there were candidates."""
    applied: bool
    """False when only observed or not requested, so that LiteLLM chooses freely."""
    reason: str
    """Machine-readable code.
    Values are tiers, one_tier, sort, no_tools, mode_off, observe, share, tried_all, rate_limited, ..."""
    preferred: tuple[LiteLLMId, ...] = ()
    """Pool that the ordering gives; differs from ``pool`` when it is only observed."""
    explored: bool = False
    """True when exploration sent this attempt to a deployment that needs measuring."""
