"""Conversation affinity shared through Redis: hash -> deployment id, with expiry.

A process's own entries have precedence. A request may look up a conversation that its process does not know; that is
the only call here on the path of a request, so it has a limit of 50 ms, and after one failure all look-ups are off
until a background call succeeds. Does not decide if a conversation stays.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from cachetools import TTLCache

from exacto_plugin.core.model import LiteLLMId
from exacto_plugin.sharing.protocol import ExchangeError
from exacto_plugin.sharing.redis.connection import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.sharing.redis.connection import RedisConnection

BUDGET_S = 0.05
"""Time limit in seconds of a request's look-up."""

PUBLISH_EVERY_S = 0.1
"""Seconds between two publications: less than a client needs for its next turn."""

_PUBLISH_BUDGET_S = 1.0
"""Time limit in seconds of background calls.

Also the time between two attempts to reach an unavailable Redis."""

_WAITING = 10_000
"""Most conversations that wait to be published.

While Redis is unavailable, the longest waiting ones are dropped first."""

_PUBLICATIONS_PER_EXPIRY = 4
"""Number of times that an unchanged conversation is published per idle time."""


class SharedEntry(NamedTuple):
    """The entry of a conversation, published by another process."""

    deployment: LiteLLMId
    from_probe: bool
    """A probe of that deployment began the conversation."""


class SharedConversations:
    """The conversations of all processes.

    ``enqueue`` is thread-safe; everything else belongs to one event loop.

    Args:
        link: the connection to Redis.
        idle_s: returns the seconds without success after which a conversation may move; called each time, since
            settings change. Entries published before keep their old expiry until they are published again.
        away: called with each failure.
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
        """True while requests may look conversations up."""

    @property
    def _expiry_s(self) -> float:
        return max(1.0, self._idle_s())

    def _none_published(self) -> TTLCache[bytes, str]:
        return TTLCache(100_000, self._expiry_s / _PUBLICATIONS_PER_EXPIRY, timer=time.monotonic)

    def enqueue(self, conversation: bytes, deployment: str, *, probed: bool = False) -> None:
        """Queue the deployment of a conversation; an empty id releases it."""
        entry = f"{int(probed)}{deployment}" if deployment else ""
        with self._lock:
            if self._published.ttl != self._expiry_s / _PUBLICATIONS_PER_EXPIRY:
                self._published = self._none_published()  # it was published with another expiry
            if self._published.get(conversation) == entry:
                return
            self._published[conversation] = entry
            self._waiting[conversation] = entry
            self._waiting.move_to_end(conversation)
            if len(self._waiting) > _WAITING:
                self._waiting.popitem(last=False)

    async def find(self, conversation: bytes) -> SharedEntry | None:
        """Look a conversation up; None without an entry, or without an answer in 50 ms."""
        if not self.reachable or asyncio.get_running_loop() is not self._loop:
            return None
        key = self._key(conversation)
        try:
            entry = decode(await self._link.within(BUDGET_S, lambda client: client.get(key)))
        except ExchangeError as error:
            self._fail(error)
            return None
        return SharedEntry(LiteLLMId(entry[1:]), entry[0] == "1") if len(entry) > 1 else None

    async def run(self) -> None:
        """Publish queued entries until cancelled; try an unavailable Redis again."""
        self._loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PUBLISH_EVERY_S if self.reachable else _PUBLISH_BUDGET_S)
            await self.publish()

    async def publish(self) -> None:
        """Publish the entries queued since the last call; on a failure they stay queued."""
        with self._lock:
            waiting, self._waiting = self._waiting, OrderedDict()
        if not waiting and self.reachable:
            return
        started = time.monotonic()
        try:
            await self._link.within(_PUBLISH_BUDGET_S, lambda client: self._write(client, waiting))
        except ExchangeError as error:
            self._fail(error)
            with self._lock:  # entries queued meanwhile are newer
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
        # Without the common hash tag: in a cluster these keys may be on any node.
        return self._link.key(f"talk:{conversation.hex()}").replace("{", "").replace("}", "")

    def _fail(self, error: ExchangeError) -> None:
        self.reachable = False
        with self._lock:
            self._published.clear()  # Redis may be empty when it is available again
        self._report_unavailable(error)
