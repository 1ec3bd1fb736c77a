"""Which Redis is shared: the operator's own URL, else the connection that LiteLLM has.

Must not decide whether anything is shared.
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
    """What every key begins with: a hash tag, so that a cluster keeps them on one node, and the layout's number."""
    return f"{{{namespace}}}:{LAYOUT}:"


def connection_to(url: str, namespace: str) -> RedisConnection:
    """A connection of our own; connects when it is first used.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        namespace: what keeps installations apart that share a server.
    """
    clients: dict[asyncio.AbstractEventLoop, Any] = {}

    def client() -> Any:
        loop = asyncio.get_running_loop()
        if loop not in clients:
            clients.clear()  # of a loop that is gone
            clients[loop] = redis.asyncio.Redis.from_url(url, socket_connect_timeout=_CONNECT_S)
        return clients[loop]

    return RedisConnection(client, key_prefix(namespace), owned=True)


def litellm_connection(cache: Callable[[], Any], namespace: str) -> RedisConnection | None:
    """LiteLLM's own connection, a cluster's perhaps, under LiteLLM's own namespace; None when it has none.

    Args:
        cache: gives LiteLLM's ``RedisCache`` or None.
        namespace: what keeps installations apart that share a server.
    """
    found = cache()
    if found is None:
        return None

    def client() -> Any:
        current = cache() or found
        return current.init_async_client()  # which keeps one for each event loop

    return RedisConnection(client, str(found.check_and_fix_namespace(key_prefix(namespace))), owned=False)
