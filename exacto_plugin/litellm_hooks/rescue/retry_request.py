"""Retry request of the rescue, made inside LiteLLM.

Both answers cost money, so LiteLLM must count both: the retry gets its own logging object and call id (each logging
object writes one spend row and one usage event), and keeps the caller's metadata, by which spend, budgets and token
limits are charged. The budget reservation belongs to the first attempt alone and is settled by the first answer; it is
removed, as LiteLLM does for its own calls (``litellm_core_utils/internal_call_metadata.py``).

Makes no decision about answers.
"""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import litellm

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_METADATA: Final = ("metadata", "litellm_metadata")
_PER_ATTEMPT_KEYS: Final = ("litellm_logging_obj", "litellm_call_id", "stream_options")
_RESERVATION: Final = "user_api_key_budget_reservation"
_KEY: Final = "user_api_key_auth"
_EXCLUDED: Final = "_excluded_deployment_ids"
_PROXY_SERVER: Final = "litellm.proxy.proxy_server"


def retry_request(kwargs: Mapping[str, Any], tried: Collection[str]) -> dict[str, Any]:
    """Return the arguments of the first attempt, changed for another one.

    The new attempt never streams.

    Args:
        kwargs: arguments of the first attempt in LiteLLM's retry loop.
        tried: LiteLLM ids of deployments to exclude; LiteLLM itself excludes them.
    """
    asked = {name: value for name, value in kwargs.items() if name not in _PER_ATTEMPT_KEYS}
    for name in _METADATA:
        found = asked.get(name)
        if isinstance(found, dict):
            # A copy: LiteLLM writes the deployment there, and the first answer's log event may still read it.
            asked[name] = _without_reservation(found)
    asked[_EXCLUDED] = sorted(tried)
    if asked.get("stream"):
        asked["stream"] = False
    if litellm.cache is not None:
        # The bad answer is in the cache by now. The second one is not read from there and replaces it.
        cache = asked.get("cache")
        asked["cache"] = {**(cache if isinstance(cache, dict) else {}), "no-cache": True}
    return asked


def _without_reservation(metadata: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in metadata.items() if name != _RESERVATION}
    if getattr(own.get(_KEY), "budget_reservation", None) is not None:
        own[_KEY] = own[_KEY].model_copy(update={"budget_reservation": None})
    return own


def require_budget(kwargs: Mapping[str, Any]) -> AbstractAsyncContextManager[None]:
    """Return a context that reserves one more request of the caller's key.

    Entering it counts the request against the limit of requests per minute and occupies a parallel slot, and raises
    LiteLLM's 429 where a limit is reached. Tokens are counted from the answer, as always. Outside the proxy these
    limits do not exist, and the context does nothing.
    """
    server = sys.modules.get(_PROXY_SERVER)
    key = next((m[_KEY] for n in _METADATA if isinstance(m := kwargs.get(n), dict) and m.get(_KEY)), None)
    logging = getattr(server, "proxy_logging_obj", None)
    if key is None or logging is None:
        return nullcontext()
    capacity = getattr(logging.get_proxy_hook("parallel_request_limiter"), "request_capacity", None)
    if capacity is None:
        return nullcontext()
    allowed: AbstractAsyncContextManager[None] = capacity(key, str(kwargs.get("model") or ""), request_data=kwargs)
    return allowed
