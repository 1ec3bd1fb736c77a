"""State of one request while LiteLLM processes it.

A context variable carries the state from the ASGI middleware to the routing hooks. LiteLLM's logging object carries it
to the scoring hooks, because a stream may be consumed long after its task started the next request. The state is never
put into LiteLLM's metadata or into the body, so it cannot be sent upstream.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.request.attempts import Attempt, AttemptSeries, RescueProgress
from exacto_plugin.litellm_hooks.request.conversation_key import ConversationState
from exacto_plugin.litellm_hooks.request.routing_state import RoutingState
from exacto_plugin.litellm_hooks.request.slugs import FallbackState, Slugs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.model import LiteLLMId


@dataclass(slots=True)
class SyncHandover:
    """The data of a synchronous or compiled call between LiteLLM's steps."""

    selected: bool = False
    """True when the newest attempt was selected synchronously."""
    in_entry: bool = False
    """True between a synchronous SDK router call and the async one that it makes."""
    pending_tools: tuple[Any, ...] | None = None
    """Tools, from the synchronous selection until the call begins.

    LiteLLM has no logging object before the call.
    """
    pending_choice: object = None
    """Tool choice that belongs to the pending tools."""


@dataclass(slots=True)
class RequestState:
    """State of one request; mutable, and written by one task at a time."""

    http: bool = False
    """True when the middleware created the state for exactly one HTTP request."""
    model_group: str = ""
    decision_id: str = field(default_factory=lambda: os.urandom(8).hex())
    call_id: str = ""
    """LiteLLM's id of the request."""
    caller: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of the key and the team, under LiteLLM's request names.

    Empty without the middleware.
    """
    tools: bool = False
    surface: str = ""
    """Surface of an HTTP request with tools."""
    scored: bool = False
    """True when an answer to it was scored."""
    extra_provider: object = None
    """``provider`` object in a Python caller's ``extra_body``.

    It is not sent upstream.
    """
    slugs: Slugs = field(default_factory=Slugs)
    fallbacks: FallbackState = field(default_factory=FallbackState)
    routing: RoutingState = field(default_factory=RoutingState)
    affinity: ConversationState = field(default_factory=ConversationState)
    attempts: list[Attempt] = field(default_factory=list)
    series: AttemptSeries = field(default_factory=AttemptSeries)
    rescue: RescueProgress | None = None
    """Set once an answer of this request was bad and a replacement was attempted."""
    sync: SyncHandover = field(default_factory=SyncHandover)

    def newest_attempt(self, litellm_id: str) -> Attempt | None:
        """Return the newest attempt at a deployment; of all attempts for an empty id."""
        known = (one for one in reversed(self.attempts) if not litellm_id or one.candidate.id == litellm_id)
        return next(known, None)

    @property
    def tried(self) -> set[LiteLLMId]:
        """LiteLLM ids of the deployments that this request was sent to."""
        return {attempt.candidate.id for attempt in self.attempts}

    @property
    def tried_in_series(self) -> set[str]:
        """LiteLLM ids of the deployments that the current series was sent to."""
        return {attempt.candidate.id for attempt in self.attempts[self.series.start :]}

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
ATTEMPT_KEY = "exacto_attempt"
"""Key of a call's attempt on the logging object.

A request may have several attempts at one deployment.
"""
