"""State of one request while LiteLLM processes it.

A context variable carries the state from the ASGI middleware to the routing hooks. LiteLLM's logging object carries it
to the scoring hooks, because a stream may be consumed long after its task started the next request. The state is never
put into LiteLLM's metadata or into the body, so it cannot be sent upstream.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import LiteLLMId, Sort

if TYPE_CHECKING:
    from datetime import datetime

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.model import Candidate, Tier
    from exacto_plugin.core.routing.policy import Policy, Slug
    from exacto_plugin.core.routing.rescue import AnswerQuality
    from exacto_plugin.litellm_hooks.refusal import Refusal
    from exacto_plugin.litellm_hooks.request.conversation_key import Conversation
    from exacto_plugin.litellm_hooks.request.provider_state import ProviderState

Listed = Mapping[tuple[str, str | None], str]
"""Model and suffixes of an entry, to the entry as the client wrote it; suffixes are None where LiteLLM has the entry as
it was written."""


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
    last_response_id: str = ""
    """Id of the newest answer that LiteLLM reported."""
    response_name: str | None = None
    """Model name in a fallback hop's answer.

    Empty for LiteLLM's own name; None when the attempt is no hop."""


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
    extra_cost: float | None = None
    """Cost in USD of the discarded answers, as far as prices are known.

    None when no price is known.
    """


@dataclass(slots=True)
class RequestState:
    """State of one request; mutable, and written by one task at a time."""

    http: bool = False
    """True when the middleware created the state for exactly one HTTP request."""
    model_group: str = ""
    slug: Slug | None = None
    """Client's slug when it carried one of the plugin's suffixes."""
    requested: str = ""
    """Model as the client wrote it, when it carried one of the suffixes."""
    listed: Listed = field(default_factory=dict)
    """Entries of the client's own ``models`` and ``fallbacks``."""
    batch: Mapping[str, list[Slug]] | None = None
    """Slugs of each model in LiteLLM's comma-separated form.

    Each model gets a state of its own.
    """
    decision_id: str = field(default_factory=lambda: secrets.token_hex(8))
    call_id: str = ""
    """LiteLLM's id of the request."""
    caller: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of the key and the team, under LiteLLM's request names.

    Empty without the middleware.
    """
    span: tuple[str, str] | None = None
    """Trace and span that were current at the decision.

    Empty strings without a span; None before the decision.
    """
    policy: Policy | None = None
    decision: Decision | None = None
    snapshot_id: str = ""
    candidates: dict[str, Candidate] = field(default_factory=dict)
    """LiteLLM id -> candidate, of the newest attempt."""
    attempts: list[Attempt] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    """Refusals of this request.

    Fallbacks of a refused model may still have served it.
    """
    fallbacks: bool = False
    """True when the request carries fallbacks of its own."""
    may_move: bool = False
    """True when a stream could change its deployment after its headers were sent."""
    extra_provider: object = None
    """``provider`` object in a Python caller's ``extra_body``.

    It is not sent upstream.
    """
    tools: bool = False
    in_share: bool = True
    """False when this conversation is outside ``apply_share``."""
    conversation: Conversation | None = None
    """Conversation of this request in the model group of the newest attempt."""
    provider_state: ProviderState | None = None
    """Provider-bound state of the request; None without any."""
    assigns_conversation: bool = True
    """True when the conversation is assigned to the selected deployment."""
    entry: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the current fallback entry.

    Used where LiteLLM does not pass them to the filter hook.
    """
    followed_entries: list[Mapping[str, Any]] = field(default_factory=list)
    """Fallback entries followed so far, under the same condition."""
    series: tuple[str, object] | None = None
    """Model group, and suffixes of the fallback entry, of the newest attempts."""
    series_start: int = 0
    """Number of attempts before this series began."""
    series_ended: bool = False
    """True when the series ended early because the request itself is at fault."""
    rescue: RescueProgress | None = None
    """Set once an answer of this request was bad and a replacement was attempted."""
    pending_tools: tuple[Any, ...] | None = None
    """Tools, from the synchronous selection until the call begins.

    LiteLLM has no logging object before the call.
    """
    pending_choice: object = None
    """Tool choice that belongs to the pending tools."""
    sync: bool = False
    """True when the newest attempt was selected synchronously."""
    in_sync_entry: bool = False
    """True between a synchronous SDK router call and the async one that it makes."""
    last_error: Exception | None = None
    """Error of the newest failed attempt.

    Kept only where ``failover.max_attempts`` is set.
    """

    @property
    def tried(self) -> set[LiteLLMId]:
        """LiteLLM ids of the deployments that this request was sent to."""
        return {attempt.candidate.id for attempt in self.attempts}

    @property
    def served_by(self) -> Attempt | None:
        """Newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def answered_by(self) -> Attempt | None:
        """Attempt whose answer the client gets.

        It is the newest one unless the rescue chose another.
        """
        decided = self.rescue.answered_by if self.rescue is not None else None
        return decided or self.served_by

    @property
    def reported_sort(self) -> Sort:
        """Sort that is reported to clients.

        ``none`` where nothing was sorted; with a refusal, the requested sort.
        """
        decided = self.decision is not None or self.refusals
        return self.policy.sort if self.policy is not None and decided else Sort.NONE

    @property
    def is_rescue_attempt(self) -> bool:
        """True while the current attempt is made by the rescue."""
        return self.rescue is not None and self.rescue.in_progress


SYNC: ContextVar[bool] = ContextVar("exacto_sync", default=False)
"""True while LiteLLM's synchronous selection runs, which cannot await."""

CURRENT: ContextVar[RequestState | None] = ContextVar("exacto_request", default=None)
LOG_KEY = "exacto_state"
"""Key of the state in ``model_call_details`` of LiteLLM's logging object.

The kwargs of a log event therefore contain it.
"""
