"""Maps running conversations to deployments, so that prompt caches stay useful.

The map is bounded and holds hashes: conversation -> deployment, the time of last use, and a flag for conversations
that a probe started. The rule for keeping a conversation at its deployment is in
:mod:`exacto_plugin.core.routing.affinity_rule`. Reads no clock (time is an argument) and stores no text of a
conversation.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from enum import StrEnum
from typing import NamedTuple

from exacto_plugin.core.model import LiteLLMId

IDLE_S = 600.0
"""Idle time after which a conversation is no longer kept at its deployment.
Source: OpenRouter's sticky sessions end after 10 idle minutes; each success renews them."""

CAPACITY = 100_000
"""Largest number of stored conversations (measured: 25 MB).
The least recently used one is removed first."""


class SessionId(StrEnum):
    """The ids by which clients name a conversation, the most specific first.

    A cache key comes last, since several conversations may share it.
    """

    SESSION_ID = "session_id"
    """Field of the body, as at OpenRouter."""
    X_SESSION_ID = "x-session-id"
    """Header, as at OpenRouter; sent by opencode."""
    X_LITELLM_SESSION_ID = "x-litellm-session-id"
    """Header of LiteLLM."""
    LITELLM_SESSION_ID = "litellm_session_id"
    """Field of the body of LiteLLM, which also writes ids of other clients there."""
    X_CLAUDE_CODE_SESSION_ID = "x-claude-code-session-id"
    """Header of Claude Code."""
    METADATA_USER_ID = "metadata.user_id"
    """The session within the Messages API's user id, as Claude Code writes it."""
    CODEX_SESSION_ID = "session-id"
    """Header of Codex; older versions write ``session_id``."""
    X_SESSION_AFFINITY = "x-session-affinity"
    """Header of opencode."""
    PROMPT_CACHE_KEY = "prompt_cache_key"
    """Field of the body of OpenAI's APIs, as at OpenRouter."""


class AffinityEntry(NamedTuple):
    """The deployment that a conversation is assigned to."""

    deployment: LiteLLMId
    """Not the deployment key.
    Two accounts at one provider share a history, but not their prompt caches."""
    used_at: float
    from_probe: bool
    """True if a probe of this deployment started the conversation.
    Its turns are then charged to the probe budget."""


class ConversationMap:
    """A thread-safe LRU map of conversations by hash, in constant time per operation."""

    __slots__ = ("_capacity", "_entries", "_lock")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, AffinityEntry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, conversation: bytes, now: float, idle_s: float) -> AffinityEntry | None:
        """Return the entry of a conversation; None if it is unknown or was idle too long.

        Args:
            conversation: its hash.
            now: UTC seconds.
            idle_s: seconds without success after which the entry no longer holds.
        """
        place = self._entries.get(conversation)
        return place if place is not None and now - place.used_at <= idle_s else None

    def last_known(self, conversation: bytes) -> LiteLLMId:
        """Return the last deployment of a conversation at any age; empty if unknown."""
        place = self._entries.get(conversation)
        return LiteLLMId("") if place is None else place.deployment

    def assign(self, conversation: bytes, deployment: LiteLLMId, now: float, *, probed: bool = False) -> None:
        """Assign a conversation to the deployment that its request was sent to.

        Sending to the same deployment again does not renew the entry; only success does.
        """
        with self._lock:
            place = self._entries.get(conversation)
            if place is None or place.deployment != deployment:
                self._put(conversation, AffinityEntry(deployment, now, probed))

    def learn(self, conversation: bytes, deployment: LiteLLMId, now: float, *, probed: bool = False) -> None:
        """Apply an assignment that another process published.

        An assignment to the deployment that the conversation has just left here is ignored.
        """
        with self._lock:
            place = self._entries.get(conversation)
            if place is None or place.deployment != deployment or place.used_at > float("-inf"):
                self._put(conversation, AffinityEntry(deployment, now, probed))

    def touch(self, conversation: bytes, deployment: LiteLLMId, now: float) -> None:
        """Renew the entry after a success, unless the conversation has moved meanwhile."""
        with self._lock:
            place = self._entries.get(conversation)
            if place is None:
                self._put(conversation, AffinityEntry(deployment, now, False))
            elif place.deployment == deployment:
                self._put(conversation, place._replace(used_at=max(now, place.used_at)))

    def release(self, conversation: bytes, deployment: LiteLLMId) -> None:
        """End the assignment after a failure, unless the conversation has moved meanwhile."""
        with self._lock:
            place = self._entries.get(conversation)
            if place is not None and place.deployment == deployment:
                # The entry is kept: content that only that deployment can read stays unreadable elsewhere.
                self._entries[conversation] = place._replace(used_at=float("-inf"))

    def _put(self, conversation: bytes, place: AffinityEntry) -> None:
        self._entries[conversation] = place
        self._entries.move_to_end(conversation)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
