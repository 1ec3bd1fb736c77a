"""What the plugin remembers of one request while LiteLLM works on it.

The state travels in a context variable from the ASGI middleware to the routing hooks, and on LiteLLM's logging object
to the scoring hooks, because a stream may be consumed long after its task started the next request. Nothing of it is
put into LiteLLM's metadata or into the body, so nothing of it can leak upstream.
"""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Sort

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from exacto_plugin.core.model import Candidate, Decision, Tier
    from exacto_plugin.core.routing.policy import Policy, Slug
    from exacto_plugin.core.routing.rescue import AnswerQuality
    from exacto_plugin.litellm_hooks.refusal import Refusal
    from exacto_plugin.litellm_hooks.request.conversation_key import Conversation
    from exacto_plugin.litellm_hooks.request.provider_state import ProviderState
    from exacto_plugin.litellm_hooks.request.response_names import Listed


@dataclass(slots=True)
class Attempt:
    """One deployment that the request was sent to."""

    candidate: Candidate
    model_group: str
    tier: Tier | None = None
    """None when no tier was looked up (pinned deployment, plain SDK call)."""
    _: KW_ONLY
    routed: bool = True
    """False when the caller named the deployment, so that the router did not choose."""
    direct: bool = False
    """A call of a program without any router."""
    probe: bool = False
    started_at: datetime | None = None
    """When it was sent, in the naive local time that LiteLLM's events are in; None when nobody saw it being sent."""
    position: tuple[object, object] = (None, None)
    """Which retry of which fallback hop it was."""
    ended: bool = False
    """True once a failure of this attempt was recorded."""
    failure: str = ""
    """How it failed, in the words of ``error.type``; empty while it did not."""
    conversation: bytes = b""
    """Hash of the conversation that goes on where this attempt goes; empty without one."""
    quality: AnswerQuality | None = None
    """What its answer is worth; only known before the client has it where it may be replaced."""
    is_scored_early: bool = False
    """Its answer is judged before the client has it, though perhaps after LiteLLM's log event of it."""
    cost: float | None = None
    """USD of its answer, as LiteLLM counts; None without a price, and until the answer was judged or scored."""
    verdict: str = ""
    """What its answer was worth, in the words of ``exacto.requests``; empty until it was scored."""
    rescue: bool = False
    """It was made because an earlier answer of this request was bad."""
    last_response_id: str = ""
    """Id of the newest answer that LiteLLM told of."""
    response_name: str | None = None
    """The model name that a fallback hop's answer carries, empty for the one that LiteLLM gives it; None when it is
    no hop."""


@dataclass(slots=True)
class RescueProgress:
    """What was done about a bad answer of one request."""

    replaced_attempt: Attempt
    """Whose answer it was."""
    in_progress: bool = False
    """True while another deployment is being asked for its sake."""
    attempts: int = 0
    """How many were asked."""
    answered_by: Attempt | None = None
    """Whose answer the client got in the end; None while that is open."""
    extra_cost: float | None = None
    """USD of the answers that the client did not get, as far as prices are known; None when none of them is."""


@dataclass(slots=True)
class RequestState:
    """Mutable on purpose: one object per request, written by one task at a time."""

    http: bool = False
    """True when the middleware made the state, so that it belongs to exactly one HTTP request."""
    model_group: str = ""
    slug: Slug | None = None
    """The client's slug when it carried one of our suffixes."""
    requested: str = ""
    """The model as the client wrote it, when it carried one of our suffixes."""
    listed: Listed = field(default_factory=dict)
    """The entries of the client's own ``models`` and ``fallbacks``."""
    batch: Mapping[str, list[Slug]] | None = None
    """With LiteLLM's comma-separated form: the slugs of each model, which get a state of their own."""
    decision_id: str = field(default_factory=lambda: secrets.token_hex(8))
    call_id: str = ""
    """LiteLLM's own id of the request."""
    caller: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of the key and the team, as LiteLLM calls them in requests; empty where no middleware is."""
    span: tuple[str, str] | None = None
    """Trace and span that were current when it was decided about, empty without one; None while nobody looked."""
    policy: Policy | None = None
    decision: Decision | None = None
    snapshot_id: str = ""
    candidates: dict[str, Candidate] = field(default_factory=dict)
    """LiteLLM id -> candidate, of the newest attempt."""
    attempts: list[Attempt] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    """What this request was refused; a refused model's fallbacks may still have served it."""
    fallbacks: bool = False
    """The request carries fallbacks of its own."""
    may_move: bool = False
    """True when LiteLLM could still move a stream to another deployment after its headers were sent."""
    extra_provider: object = None
    """The ``provider`` object that a Python caller put into ``extra_body``, which is not the upstream's to see."""
    tools: bool = False
    in_share: bool = True
    """False when this conversation lies outside ``apply_share``."""
    conversation: Conversation | None = None
    """Of this request, in the model group that is asked now."""
    provider_state: ProviderState | None = None
    """What the request carries that only one deployment can read."""
    assigns_conversation: bool = True
    """Whether the conversation moves to the deployment that is picked."""
    entry: Mapping[str, Any] = field(default_factory=dict)
    """The fields of the fallback entry that is asked now, where LiteLLM does not give them to the filter hook."""
    followed_entries: list[Mapping[str, Any]] = field(default_factory=list)
    """The fallback entries that were asked so far, under the same condition."""
    series: tuple[str, object] | None = None
    """Model group, and suffixes of the fallback entry, that the newest attempts belong to."""
    series_start: int = 0
    """How many attempts had been made when that walk began."""
    series_ended: bool = False
    """The walk ended early: what was asked is at fault, not who was asked."""
    rescue: RescueProgress | None = None
    """Set once an answer of this request was bad and another one was sought."""
    pending_tools: tuple[Any, ...] | None = None
    """The tools, from the synchronous selection until the call begins: LiteLLM has no logging object before."""
    pending_choice: object = None
    """The tool choice that goes with them."""
    sync: bool = False
    """The newest attempt was selected synchronously."""
    in_sync_entry: bool = False
    """True between a synchronous call of a program's router and the asynchronous one that it leads to."""
    last_error: Exception | None = None
    """What the newest failed attempt failed with; kept only where ``failover.max_attempts`` is set."""

    @property
    def tried(self) -> set[str]:
        """LiteLLM ids of the deployments that this request was sent to."""
        return {attempt.candidate.id for attempt in self.attempts}

    @property
    def served_by(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def answered_by(self) -> Attempt | None:
        """The attempt whose answer the client gets: the newest, unless rescue decided otherwise."""
        decided = self.rescue.answered_by if self.rescue is not None else None
        return decided or self.served_by

    @property
    def reported_sort(self) -> Sort:
        """The sort that clients are told: ``none`` where nothing was sorted; with a refusal, what was asked for."""
        decided = self.decision is not None or self.refusals
        return self.policy.sort if self.policy is not None and decided else Sort.NONE

    @property
    def is_rescue_attempt(self) -> bool:
        """Whether the attempt at hand is made for the sake of rescue."""
        return self.rescue is not None and self.rescue.in_progress


SYNC: ContextVar[bool] = ContextVar("exacto_sync", default=False)
"""True while a deployment is picked by LiteLLM's synchronous selection, which can wait for nothing."""

CURRENT: ContextVar[RequestState | None] = ContextVar("exacto_request", default=None)
LOG_KEY = "exacto_state"
"""Where the state hangs on LiteLLM's logging object (``model_call_details``), and so in a log event's kwargs."""
