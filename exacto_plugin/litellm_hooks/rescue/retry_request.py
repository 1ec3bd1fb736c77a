"""The second ask of a request inside LiteLLM: what it shares with the first, and what must be its own.

Both answers cost money, so LiteLLM must count both: the second gets a logging object and a call id of its own (each
logging object writes one spend row and one usage event), and keeps the caller's metadata, by which spend, budgets and
token limits are charged. What belongs to the first ask alone is taken off, as LiteLLM does it for calls of its own
(``litellm_core_utils/internal_call_metadata.py``): its budget reservation, which the first answer settles.

Decides nothing about answers.
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
    """The arguments of the first ask, made ready for another one; always whole, also where the first is a stream.

    Args:
        kwargs: what LiteLLM's retry loop called the first attempt with.
        tried: LiteLLM ids that must not be asked again; LiteLLM itself leaves them out.
    """
    asked = {name: value for name, value in kwargs.items() if name not in _PER_ATTEMPT_KEYS}
    for name in _METADATA:
        found = asked.get(name)
        if isinstance(found, dict):
            # Its own copy: LiteLLM writes the deployment there, and the first answer's log event may still read it.
            asked[name] = _without_reservation(found)
    asked[_EXCLUDED] = sorted(tried)
    if asked.get("stream"):
        asked["stream"] = False
    if litellm.cache is not None:
        # The bad answer is in the cache by now. The second one is not read from there and takes its place.
        cache = asked.get("cache")
        asked["cache"] = {**(cache if isinstance(cache, dict) else {}), "no-cache": True}
    return asked


def _without_reservation(metadata: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in metadata.items() if name != _RESERVATION}
    if getattr(own.get(_KEY), "budget_reservation", None) is not None:
        own[_KEY] = own[_KEY].model_copy(update={"budget_reservation": None})
    return own


def require_budget(kwargs: Mapping[str, Any]) -> AbstractAsyncContextManager[None]:
    """What the caller's key must have left for one more request on LiteLLM's proxy: requests per minute, a free slot.

    Entering it counts the request and holds the slot, and raises LiteLLM's 429 where a limit is reached. Tokens are
    counted from the answer, as always. Elsewhere than on the proxy there are no such limits.
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
