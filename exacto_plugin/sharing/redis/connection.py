"""A connection to Redis, single or cluster: scripts and commands with time limits.

The connection is the plugin's own or LiteLLM's. Every failure becomes an ``ExchangeError`` without the server's
message, since that may quote the data sent. Does not depend on the shared data.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError

from exacto_plugin.sharing.protocol import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Argument = str | int | float | bytes


class RedisConnection:
    """A connection to one Redis.

    Args:
        client: returns the asynchronous client (``redis.asyncio.Redis`` or a cluster's) for the running loop.
        prefix: prefix of every key.
        owned: True if closing the connection closes the client.
    """

    def __init__(self, client: Callable[[], Any], prefix: str, *, owned: bool) -> None:
        self._client = client
        self._prefix = prefix
        self._owned = owned
        self._hashes: dict[str, str] = {}

    def key(self, name: str) -> str:
        """Return a key's full name."""
        return f"{self._prefix}{name}"

    async def script(self, source: str, keys: Sequence[str], *arguments: Argument, budget_s: float) -> Any:
        """Run a script.

        Raises:
            ExchangeError: it failed or took longer than ``budget_s`` seconds.
        """
        digest = self._hashes.get(source)
        if digest is None:
            # Redis identifies scripts by this hash; it protects nothing.
            digest = self._hashes[source] = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        names = [self.key(key) for key in keys]

        async def run(client: Any) -> Any:
            try:
                return await client.evalsha(digest, len(names), *names, *arguments)
            except NoScriptError:
                return await client.eval(source, len(names), *names, *arguments)

        return await self.within(budget_s, run)

    async def within(self, budget_s: float, action: Callable[[Any], Any]) -> Any:
        """Return the result of ``action(client)``.

        Raises:
            ExchangeError: it failed or took longer than ``budget_s`` seconds.
        """
        try:
            async with asyncio.timeout(budget_s):
                return await action(self._client())
        except TimeoutError as error:
            raise ExchangeError(f"Redis did not answer within {budget_s:g} s") from error
        except (RedisError, OSError) as error:
            raise ExchangeError(f"the call to Redis failed ({type(error).__name__})") from error

    async def aclose(self) -> None:
        """Close the client if it is owned."""
        if self._owned:
            client = self._client()
            await self.within(1.0, lambda _: client.aclose())


def decode(value: str | bytes | None) -> str:
    """Convert an answer of Redis to text; some clients are configured to decode."""
    return value.decode() if isinstance(value, bytes) else value or ""
