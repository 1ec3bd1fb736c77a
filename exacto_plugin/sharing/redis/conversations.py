"""Where conversations are, told to other processes through Redis: a hash and the deployment's id, which expire.

What a process knows itself comes first. A request may look up a conversation that its process does not know; that is
the only thing near a request here, so it has 50 ms, once: after one failure nobody looks anything up until a call
beside the requests succeeds again. Must not decide whether a conversation stays.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from cachetools import TTLCache

from exacto_plugin.sharing.protocol import ExchangeError
from exacto_plugin.sharing.redis.connection import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.sharing.redis.connection import RedisConnection

BUDGET_S = 0.05
"""Seconds that a request may look for its conversation."""

PUBLISH_EVERY_S = 0.1
"""Seconds after which others can know: less than a client needs for its next turn."""

_BESIDE_S = 1.0
"""Seconds that a call beside the requests may take, and between two attempts to reach a Redis that is away."""

_WAITING = 10_000
"""Conversations that wait to be told at most; while Redis is away the longest waiting ones go first."""

_AFRESH = 4
"""A conversation that goes on where it is is told again so many times within its idle time."""


class SharedEntry(NamedTuple):
    """Where another process left a conversation."""

    deployment: str
    """LiteLLM's id."""
    from_probe: bool
    """A probe of that deployment began the conversation."""


class SharedConversations:
    """The conversations of all processes. Notes come from any thread; everything else belongs to one event loop.

    Args:
        link: the way to Redis.
        idle_s: gives the seconds without success after which a conversation may begin elsewhere; asked anew each time,
            since settings change. What was told before keeps the time that it was told with until it is told again.
        away: told of failures.
    """

    def __init__(
        self, link: RedisConnection, idle_s: Callable[[], float], away: Callable[[ExchangeError], None]
    ) -> None:
        self._link = link
        self._idle_s = idle_s
        self._report_unavailable = away
        self._lock = threading.Lock()
        self._waiting: OrderedDict[bytes, str] = OrderedDict()
        self._published = self._none_published()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.reachable = False
        """Whether requests may look something up."""

    @property
    def _expiry_s(self) -> float:
        return max(1.0, self._idle_s())

    def _none_published(self) -> TTLCache[bytes, str]:
        return TTLCache(100_000, self._expiry_s / _AFRESH, timer=time.monotonic)

    def enqueue(self, conversation: bytes, deployment: str, *, probed: bool = False) -> None:
        """A conversation is at a deployment; an empty name: it may begin elsewhere."""
        said = f"{int(probed)}{deployment}" if deployment else ""
        with self._lock:
            if self._published.ttl != self._expiry_s / _AFRESH:
                self._published = self._none_published()  # it was told with another expiry
            if self._published.get(conversation) == said:
                return
            self._published[conversation] = said
            self._waiting[conversation] = said
            self._waiting.move_to_end(conversation)
            if len(self._waiting) > _WAITING:
                self._waiting.popitem(last=False)

    async def find(self, conversation: bytes) -> SharedEntry | None:
        """Where a conversation is; None when nobody told, or Redis does not say so within 50 ms."""
        if not self.reachable or asyncio.get_running_loop() is not self._loop:
            return None
        key = self._key(conversation)
        try:
            said = decode(await self._link.within(BUDGET_S, lambda client: client.get(key)))
        except ExchangeError as error:
            self._fail(error)
            return None
        return SharedEntry(said[1:], said[0] == "1") if len(said) > 1 else None

    async def serve(self) -> None:
        """Tell others what was noted, until cancelled; and find out when Redis is back."""
        self._loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PUBLISH_EVERY_S if self.reachable else _BESIDE_S)
            await self.publish()

    async def publish(self) -> None:
        """Tell others what was noted since the last time; what cannot be told waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, OrderedDict()
        if not waiting and self.reachable:
            return
        started = time.monotonic()
        try:
            await self._link.within(_BESIDE_S, lambda client: self._write(client, waiting))
        except ExchangeError as error:
            self._fail(error)
            with self._lock:  # what was noted meanwhile is newer
                newer, self._waiting = self._waiting, waiting
                self._waiting.update(newer)
                while len(self._waiting) > _WAITING:
                    self._waiting.popitem(last=False)
            return
        self.reachable = time.monotonic() - started <= BUDGET_S

    async def _write(self, client: Any, waiting: OrderedDict[bytes, str]) -> None:
        pipe = client.pipeline(transaction=False)
        for conversation, said in waiting.items():
            key = self._key(conversation)
            if said:
                pipe.set(key, said, px=int(self._expiry_s * 1000))
            else:
                pipe.delete(key)
        if waiting:
            await pipe.execute()
        else:
            await client.exists(self._key(b""))

    def _key(self, conversation: bytes) -> str:
        # Without the hash tag of the rest: in a cluster they may lie anywhere.
        return self._link.key(f"talk:{conversation.hex()}").replace("{", "").replace("}", "")

    def _fail(self, error: ExchangeError) -> None:
        self.reachable = False
        with self._lock:
            self._published.clear()  # it may come back empty
        self._report_unavailable(error)
