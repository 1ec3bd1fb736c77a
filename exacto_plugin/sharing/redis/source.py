"""The shared Redis: the operator's own URL, else LiteLLM's connection.

Does not decide if anything is shared.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import redis.asyncio

from exacto_plugin.sharing.codec import LAYOUT
from exacto_plugin.sharing.redis.connection import RedisConnection

if TYPE_CHECKING:
    from collections.abc import Callable

_CONNECT_S = 1.0


def key_prefix(namespace: str) -> str:
    """Return the prefix of every key: a hash tag and the number of the layout.

    The hash tag makes a cluster keep all keys on one node.
    """
    return f"{{{namespace}}}:{LAYOUT}:"


def connection_to(url: str, namespace: str) -> RedisConnection:
    """Create a connection of the plugin's own, opened at its first use.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        namespace: separates installations that share a server.
    """
    clients: dict[asyncio.AbstractEventLoop, Any] = {}

    def client() -> Any:
        loop = asyncio.get_running_loop()
        if loop not in clients:
            clients.clear()  # clients of a closed loop
            clients[loop] = redis.asyncio.Redis.from_url(url, socket_connect_timeout=_CONNECT_S)
        return clients[loop]

    return RedisConnection(client, key_prefix(namespace), owned=True)


def litellm_connection(cache: Callable[[], Any], namespace: str) -> RedisConnection | None:
    """Return LiteLLM's own connection, single or cluster; None when it has none.

    Keys are under LiteLLM's own namespace as well.

    Args:
        cache: returns LiteLLM's ``RedisCache`` or None.
        namespace: separates installations that share a server.
    """
    found = cache()
    if found is None:
        return None

    def client() -> Any:
        current = cache() or found
        return current.init_async_client()  # LiteLLM keeps one for each event loop

    return RedisConnection(client, str(found.check_and_fix_namespace(key_prefix(namespace))), owned=False)
