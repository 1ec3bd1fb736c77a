"""Where running conversations are, so that they stay there and providers' prompt caches survive.

A bounded memory of hashes: conversation -> deployment, since when it is unused, and whether a probe began it. Whether
a conversation may stay is decided in :mod:`exacto_plugin.core.routing.affinity_rule`. Knows no clock (time is an
argument) and no text of a conversation.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

IDLE_S = 600.0
"""Source: OpenRouter's sticky sessions end after 10 idle minutes, renewed by success."""

CAPACITY = 100_000
"""Conversations that are remembered at most, the longest unused ones go first (measured: 25 MB)."""


class AffinityEntry(NamedTuple):
    """Where a conversation is."""

    deployment: str
    """LiteLLM's id: two accounts at one provider share a history, but not their prompt caches."""
    used_at: float
    from_probe: bool
    """A probe of that deployment began the conversation, so that its turns cost what probes may cost."""


class ConversationMap:
    """An LRU of conversations by hash; constant time throughout. May be used from any thread."""

    __slots__ = ("_capacity", "_entries", "_lock")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, AffinityEntry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, conversation: bytes, now: float, idle_s: float) -> AffinityEntry | None:
        """Where a conversation is; None when it is unknown or was idle for too long.

        Args:
            conversation: its hash.
            now: UTC seconds.
            idle_s: seconds without success after which it may begin elsewhere.
        """
        place = self._entries.get(conversation)
        return place if place is not None and now - place.used_at <= idle_s else None

    def last_known(self, conversation: bytes) -> str:
        """Where a conversation was last, however long ago that is; empty when nobody knows any more."""
        place = self._entries.get(conversation)
        return "" if place is None else place.deployment

    def assign(self, conversation: bytes, deployment: str, now: float, *, probed: bool = False) -> None:
        """A request of a conversation was sent to ``deployment``; from another place it moves there.

        Sending alone does not prolong its time at the same place; only success does.
        """
        with self._lock:
            place = self._entries.get(conversation)
            if place is None or place.deployment != deployment:
                self._put(conversation, AffinityEntry(deployment, now, probed))

    def learn(self, conversation: bytes, deployment: str, now: float, *, probed: bool = False) -> None:
        """Another process says where a conversation goes on; whom it has just left here it does not return to."""
        with self._lock:
            place = self._entries.get(conversation)
            if place is None or place.deployment != deployment or place.used_at > float("-inf"):
                self._put(conversation, AffinityEntry(deployment, now, probed))

    def touch(self, conversation: bytes, deployment: str, now: float) -> None:
        """A request was answered: the conversation goes on where it is, unless it has moved on meanwhile."""
        with self._lock:
            place = self._entries.get(conversation)
            if place is None:
                self._put(conversation, AffinityEntry(deployment, now, False))
            elif place.deployment == deployment:
                self._put(conversation, place._replace(used_at=max(now, place.used_at)))

    def release(self, conversation: bytes, deployment: str) -> None:
        """A deployment failed a conversation: it is free to begin elsewhere, unless it has moved on meanwhile."""
        with self._lock:
            place = self._entries.get(conversation)
            if place is not None and place.deployment == deployment:
                # Still recalled: what only that deployment can read does not become readable elsewhere.
                self._entries[conversation] = place._replace(used_at=float("-inf"))

    def _put(self, conversation: bytes, place: AffinityEntry) -> None:
        self._entries[conversation] = place
        self._entries.move_to_end(conversation)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
