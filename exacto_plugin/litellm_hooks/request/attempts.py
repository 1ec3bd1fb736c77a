"""The attempts of one request: deployments that were called, and their series."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from exacto_plugin.core.model import Candidate, Tier
    from exacto_plugin.core.routing.rescue import AnswerQuality
    from exacto_plugin.core.scoring.answers.calls import StreamReader
    from exacto_plugin.core.windows.pairs import PairedAnswer


@dataclass(slots=True)
class Attempt:
    """Attempt: one deployment that the request was sent to."""

    candidate: Candidate
    model_group: str
    tier: Tier | None = None
    """None when no tier was looked up (pinned deployment, plain SDK call)."""
    _: KW_ONLY
    routed: bool = True
    """False when the caller named the deployment, so the router did not choose."""
    direct: bool = False
    """True for an SDK call without a router."""
    probe: bool = False
    started_at: datetime | None = None
    """Time of sending, in the naive local time of LiteLLM's events.

    None when the sending was not observed.
    """
    position: tuple[object, object] = (None, None)
    """Retry number and fallback depth."""
    ended: bool = False
    """True once a failure of this attempt was recorded."""
    answered: bool = False
    """True once its whole answer arrived.

    A later error, as of a conversion, is LiteLLM's own.
    """
    failure: str = ""
    """Failure as a value of ``error.type``; empty without one."""
    conversation: bytes = b""
    """Hash of the conversation that follows this attempt; empty without one."""
    quality: AnswerQuality | None = None
    """Quality of its answer.

    Known before the client has the answer only where the answer may be replaced.
    """
    is_scored_early: bool = False
    """True when its answer is scored before the client has it.

    LiteLLM's log event of the answer may still come first.
    """
    cost: float | None = None
    """Cost of its answer in USD, as LiteLLM counts.

    None without a price, and until the answer was assessed or scored.
    """
    verdict: str = ""
    """Outcome of its answer as in ``exacto.requests``; empty until it is scored."""
    rescue: bool = False
    """True when it was made because of an earlier bad answer of this request."""
    paired: PairedAnswer | None = None
    """Its answer, or its failure, for comparison with those of other attempts."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """LiteLLM's metadata of the request."""
    last_response_id: str = ""
    """Id of the newest answer that LiteLLM reported."""
    streamed: bool = False
    """True when a stream was requested."""
    stream: StreamReader | None = None
    """Reader of the stream that leaves for the client; None for a whole answer."""
    finish_reasons: set[str] = field(default_factory=set)
    """Finish reasons as the provider wrote them, where LiteLLM reports others."""
    response_name: str | None = None
    """Model name in a fallback hop's answer.

    Empty for LiteLLM's own name; None when the attempt is no hop."""


@dataclass(slots=True)
class AttemptSeries:
    """The newest attempts, in one model group and under one fallback entry."""

    key: tuple[str, object] | None = None
    """Model group, and suffixes of the fallback entry."""
    start: int = 0
    """Number of the request's attempts before this series began."""
    ended: bool = False
    """True when the series ended early because the request itself is at fault."""
    last_error: Exception | None = None
    """Error of the newest failed attempt, of whichever series.

    Kept only where ``failover.max_attempts`` is set.
    """

    def begin(self, key: tuple[str, object], start: int) -> None:
        """Begin a new series after ``start`` attempts, unless it is the current one."""
        if self.key != key:
            self.key, self.start, self.ended = key, start, False


@dataclass(slots=True)
class RescueProgress:
    """Progress of the rescue of one bad answer."""

    replaced_attempt: Attempt
    """Attempt with the bad answer."""
    in_progress: bool = False
    """True while an attempt at another deployment is running."""
    attempts: int = 0
    """Number of further attempts."""
    answered_by: Attempt | None = None
    """Attempt with the answer that the client gets; None until decided."""
    same: bool = False
    """True once the deployment of the bad answer was asked again."""
    extra_cost: float | None = None
    """Cost in USD of the discarded answers, as far as prices are known.

    None when no price is known.
    """
