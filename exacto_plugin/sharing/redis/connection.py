"""One Redis, single or a cluster, own connection or LiteLLM's: scripts and commands within a time limit.

Every failure becomes an ``ExchangeError`` without the server's words, since those may quote what was sent. Must not
know what is shared.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, RedisError

from exacto_plugin.sharing.protocol import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TAG = "{exacto}"
"""The hash tag of every key: a cluster keeps them on one node, where one script can reach them all."""

Argument = str | int | float | bytes


class RedisConnection:
    """A way to one Redis.

    Args:
        client: gives the asynchronous client (``redis.asyncio.Redis`` or a cluster's) for the running loop.
        prefix: what every key begins with.
        owned: whether closing the link closes the client.
    """

    def __init__(self, client: Callable[[], Any], prefix: str, *, owned: bool) -> None:
        self._client = client
        self._prefix = prefix
        self._owned = owned
        self._hashes: dict[str, str] = {}

    def key(self, name: str) -> str:
        """A key's full name."""
        return f"{self._prefix}{name}"

    async def script(self, source: str, keys: Sequence[str], *arguments: Argument, budget_s: float) -> Any:
        """Run a script; raises an ``ExchangeError`` when that takes longer than ``budget_s`` seconds."""
        known = self._hashes.get(source)
        if known is None:
            # Redis names scripts by this hash; it protects nothing.
            known = self._hashes[source] = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        names = [self.key(key) for key in keys]

        async def run(client: Any) -> Any:
            try:
                return await client.evalsha(known, len(names), *names, *arguments)
            except NoScriptError:
                return await client.eval(source, len(names), *names, *arguments)

        return await self.within(budget_s, run)

    async def within(self, budget_s: float, action: Callable[[Any], Any]) -> Any:
        """What ``action(client)`` gives, or an ``ExchangeError`` when it fails or takes longer than ``budget_s``."""
        try:
            async with asyncio.timeout(budget_s):
                return await action(self._client())
        except TimeoutError as error:
            raise ExchangeError(f"Redis did not answer within {budget_s:g} s") from error
        except (RedisError, OSError) as error:
            raise ExchangeError(f"Redis could not be asked ({type(error).__name__})") from error

    async def aclose(self) -> None:
        """Close the connection if it is ours."""
        if self._owned:
            client = self._client()
            await self.within(1.0, lambda _: client.aclose())


def decode(value: str | bytes | None) -> str:
    """What Redis answered, as text; clients decode or do not, as they were configured."""
    return value.decode() if isinstance(value, bytes) else value or ""
