"""The exchanges that a process could share through: a Redis, or its store.

Each source is asked before a step until it has one; nothing here is on a request's path.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from exacto_plugin.errors import StoreError
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.sharing.intervals import PUSH_S
from exacto_plugin.sharing.protocol import LostLeaseError
from exacto_plugin.store.exchange import StoreExchange

if TYPE_CHECKING:
    from exacto_plugin.config.settings import Settings
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.faults import FaultReporter
    from exacto_plugin.litellm_hooks.runtime.overrides import OverrideService
    from exacto_plugin.sharing.protocol import Exchange, ExchangeError
    from exacto_plugin.sharing.redis.alert_states import RedisAlertStates
    from exacto_plugin.sharing.redis.connection import RedisConnection
    from exacto_plugin.sharing.redis.conversations import SharedConversations
    from exacto_plugin.store.store import Store

logger = logging.getLogger("exacto_plugin")


def pause_s(settings: Settings) -> float:
    """Return the seconds between two steps of a replica."""
    return min(PUSH_S, settings.tiers.recompute_interval_s)


def report_unavailable(faults: FaultReporter, error: ExchangeError) -> None:
    """Count an unavailable exchange, and log it once a minute.

    A store logs its own failure, once. A lost lease is no fault: another worker took over from one that was delayed.
    """
    if isinstance(error, LostLeaseError):
        logger.info("%s: the shared verdicts are left to it", error)
    elif not isinstance(error.__cause__, StoreError):
        faults.report("sharing", error)


class StoreExchangeSource:
    """The store as an exchange.

    Workers of one machine share it, and the next start continues from it.

    Args:
        context: of this process.
        store: of this process.
    """

    def __init__(self, context: Context, store: Store) -> None:
        self._context = context
        self._store = store

    def exchange(self) -> Exchange | None:
        """Return the exchange; None unless the store outlives the process."""
        location = self._store.location
        if location is None or not location.is_persistent:
            return None
        return StoreExchange(self._store, pause_s(self._context.settings))


class RedisExchangeSource:
    """A Redis as an exchange: the configured one, else LiteLLM's own.

    Args:
        context: of this process. Its Redis settings are those at the start: processes that share must agree, so they
            change together, with a restart.
        routers: may have a Redis.
        overrides: read and written through the Redis as well.
    """

    def __init__(self, context: Context, routers: Routers, overrides: OverrideService) -> None:
        self._context = context
        self._routers = routers
        self._overrides = overrides
        self._settings = context.settings.redis
        self.conversations: SharedConversations | None = None
        """None without a Redis for conversations, or if their names are process-local."""
        self.alert_states: RedisAlertStates | None = None
        """None without a Redis."""

    def exchange(self) -> Exchange | None:
        """Return the exchange; None while there is no Redis."""
        link = self._connection()
        if link is None:
            return None
        from exacto_plugin.sharing.redis.alert_states import RedisAlertStates
        from exacto_plugin.sharing.redis.conversations import SharedConversations
        from exacto_plugin.sharing.redis.exchange import RedisExchange
        from exacto_plugin.sharing.redis.overrides import RedisOverrides

        context = self._context
        self._overrides.add_backend(RedisOverrides(link, context.clock))
        self.alert_states = RedisAlertStates(link)
        if context.salt_is_shared:
            self.conversations = SharedConversations(
                link,
                lambda: context.settings.affinity.idle_s,
                lambda error: report_unavailable(context.faults, error),
            )
        return RedisExchange(link, pause_s(context.settings))

    def _connection(self) -> RedisConnection | None:
        settings = self._settings
        if not settings.enabled or (settings.url is None and self._litellm_cache() is None):
            return None
        from exacto_plugin.sharing.redis.source import connection_to, litellm_connection

        if settings.url is not None:
            return connection_to(settings.url.get_secret_value(), settings.namespace)
        return litellm_connection(self._litellm_cache, settings.namespace)

    def _litellm_cache(self) -> Any:
        """Return LiteLLM's Redis: the proxy's own, else a router's; None without."""
        server = sys.modules.get("litellm.proxy.proxy_server")
        found = getattr(server, "redis_usage_cache", None)
        if found is not None:
            return found
        caches = (router_view(router).redis for router in self._routers.live)
        return next((cache for cache in caches if cache is not None), None)
