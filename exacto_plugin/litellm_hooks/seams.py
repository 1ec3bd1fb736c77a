"""The places inside LiteLLM that are not public hooks, checked before they are used.

* ``Router._filter_by_routing_plugin_candidates`` runs once per attempt, after team, health, cooldown, pre-call checks
  and tags and right before the operator's ``order`` levels: the one place where narrowing can never empty the pool
  that LiteLLM's constraints left.
* ``Router.should_retry_this_error`` says after each failed attempt whether LiteLLM's retry loop goes on.
* ``Router.make_call`` is one attempt inside LiteLLM's retry loop, on every surface.
* ``set_cooldown_deployments`` and ``increment_deployment_failures_for_current_minute``, as the router's module knows
  them, are what LiteLLM does about a failed attempt, in the attempt's own task.
* ``Router._acompletion_streaming_iterator`` is given every chat stream before it leaves its attempt, and
  ``_aresponses_streaming_iterator`` and ``_aanthropic_messages_streaming_iterator`` those of the other two surfaces.
* ``_resolve_router_settings_model_group_alias`` of the proxy's authentication is called with the key that was found,
  before LiteLLM checks what that key may call.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import CodeType
from typing import Any

import litellm

logger = logging.getLogger("exacto_plugin")

KNOWN_LITELLM = "1.106"
"""The minor version whose seams were read and tried."""

_AUTH = "litellm.proxy.auth.user_api_key_auth"

_LATE = "_filter_by_routing_plugin_candidates"
_RETRY = "should_retry_this_error"
_STREAM = "_acompletion_streaming_iterator"
_EVENTS = {"responses": "_aresponses_streaming_iterator", "messages": "_aanthropic_messages_streaming_iterator"}
_ATTEMPT = "make_call"
_COOLDOWN = ("set_cooldown_deployments", "increment_deployment_failures_for_current_minute")
_NAMES = "_resolve_router_settings_model_group_alias"

_PARAMETERS = {
    _LATE: ["self", "healthy_deployments", "request_kwargs"],
    _RETRY: [
        "self",
        "error",
        "healthy_deployments",
        "all_deployments",
        "context_window_fallbacks",
        "content_policy_fallbacks",
        "regular_fallbacks",
    ],
    _STREAM: ["self", "model_response", "messages", "initial_kwargs", "deployment_slot"],
    **{name: ["self", "response", "initial_kwargs"] for name in _EVENTS.values()},
    _ATTEMPT: ["self", "original_function", "args", "kwargs"],
    _NAMES: ["request_data", "valid_token", "request", "route"],
}

Narrow = Callable[[Any, list[Any], dict[str, Any]], list[Any]]
"""``narrow(router, deployments, request_kwargs)``; raises only what the client is to be told."""

GoesOn = Callable[[Exception], bool | None]
"""Whether LiteLLM retries after an error; None leaves it to LiteLLM."""

Opened = Callable[[Any, Any], Awaitable[Any]]
"""``opened(stream, slot)``: the stream to go on with; raises what an attempt may fail with."""

Surface = Callable[[Any, str], Any]
"""``surface(stream, name)``: the stream to go on with, of the surface ``responses`` or ``messages``."""

Attempt = Callable[[Callable[[dict[str, Any]], Awaitable[Any]], dict[str, Any]], Awaitable[Any]]
"""``attempt(ask, kwargs)``: makes an attempt by ``ask(kwargs)``, and may make more of them with other arguments."""

Names = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
"""``names(request_data, key, request)``: called once a key is known and before it is asked what it may call."""


def litellm_version() -> str:
    """LiteLLM's version, or ``unknown``."""
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "unknown"


def _known(owner: Any, name: str) -> bool:
    found = getattr(owner, name, None)
    return found is not None and list(inspect.signature(inspect.unwrap(found)).parameters) == _PARAMETERS[name]


@functools.cache
def _used(owner: Any) -> frozenset[str]:
    """Every name that the methods of a class use. From their code: to parse the source takes half a second."""
    found = [inspect.unwrap(value) for value in vars(owner).values() if inspect.isfunction(value)]
    return frozenset().union(*(names_in(method.__code__) for method in found))


def names_in(code: CodeType) -> set[str]:
    """The names of attributes and globals that some code uses, the functions inside it included."""
    inner = (names_in(const) for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*inner)


def missing_seams() -> list[str]:
    """What this LiteLLM lacks of what the plugin relies on; empty on a known version."""
    router = litellm.Router
    missing = [f"Router.{name}" for name in (_LATE, _RETRY, _STREAM) if not _known(router, name)]
    used = _used(router)
    missing += [f"a call of Router.{name}" for name in (_LATE, _RETRY, _STREAM) if name not in used]
    names = ("is_recognized_model", "team_public_model_names", "deployment_names", "pattern_router")
    return missing + [f"Router.{name}" for name in names if name not in used and not hasattr(router, name)]


def install(narrow: Narrow, goes_on: GoesOn, opened: Opened) -> list[str]:
    """Wrap the router's seams, on the class, so that routers that LiteLLM builds later have them too.

    Args:
        narrow: sees what LiteLLM's constraints left of a model group.
        goes_on: judges the error of an attempt.
        opened: is given each chat stream before it is handed out.

    Returns:
        The seams that are missing; with any missing nothing is wrapped, one line is logged, and tiers are left out.
    """
    missing = missing_seams()
    known = litellm_version().startswith(f"{KNOWN_LITELLM}.")
    if missing:
        logger.warning(
            "LiteLLM %s lacks %s: tiers, sorts and failover are left out, curated lists and scoring work",
            litellm_version(),
            ", ".join(missing),
        )
        return missing
    if not known:
        logger.warning("LiteLLM %s was not tried (%s.x was); its seams look the same", litellm_version(), KNOWN_LITELLM)
    wrap(litellm.Router, _LATE, lambda original: _late(original, narrow))
    wrap(litellm.Router, _RETRY, lambda original: _retry(original, goes_on))
    wrap(litellm.Router, _STREAM, lambda original: _stream(original, opened))
    return []


def install_names(names: Names) -> list[str]:
    """Let ``names`` see each request of the proxy between authentication and authorization.

    Returns:
        The seam, when it is missing.
    """
    auth = import_module(_AUTH)
    if not _known(auth, _NAMES):
        return [f"{_AUTH}.{_NAMES}"]

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def resolve(request_data: Any, valid_token: Any, request: Any, route: str) -> Any:
            await names(request_data, valid_token, request)
            return await original(request_data, valid_token, request, route)

        return resolve

    wrap(auth, _NAMES, make)
    return []


def install_attempts(attempt: Attempt, spared: Callable[[], bool]) -> list[str]:
    """Let ``attempt`` make each attempt of LiteLLM's async retry loop.

    Args:
        attempt: makes one attempt or more.
        spared: whether a failure of the attempt at hand shall not count towards a cooldown.

    Returns:
        The seams that are missing; with any missing nothing is wrapped.
    """
    router, module = litellm.Router, import_module(litellm.Router.__module__)
    used = _used(router)
    missing = [] if _known(router, _ATTEMPT) and _ATTEMPT in used else [f"Router.{_ATTEMPT}"]
    missing += [name for name in _COOLDOWN if not hasattr(module, name) or name not in used]
    if missing:
        return missing

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def make_call(self: Any, original_function: Any, *args: Any, **kwargs: Any) -> Any:
            return await attempt(lambda asked: original(self, original_function, *args, **asked), kwargs)

        return make_call

    def sparing(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: False if spared() else original(*args, **kwargs)

    wrap(router, _ATTEMPT, make)
    for name in _COOLDOWN:
        wrap(module, name, sparing)
    return []


def install_events(opened: Surface) -> list[str]:
    """Let ``opened`` see each stream of events before it leaves its attempt.

    Returns:
        The seams that are missing, of which streams come as they are.
    """
    router, used = litellm.Router, _used(litellm.Router)
    missing = []
    for surface, name in _EVENTS.items():
        if not _known(router, name) or name not in used:
            missing.append(f"Router.{name}")
            continue
        wrap(router, name, functools.partial(_events, opened, surface))
    return missing


def wrap(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    found = getattr(owner, name)
    original = getattr(found, "exacto_wraps", found)
    wrapper = functools.wraps(original)(make(original))
    wrapper.exacto_wraps = original  # type: ignore[attr-defined]
    setattr(owner, name, wrapper)


def _late(original: Callable[..., Any], narrow: Narrow) -> Callable[..., Any]:
    def late(self: Any, healthy_deployments: Any, request_kwargs: dict[str, Any]) -> Any:
        kept = original(self, healthy_deployments=healthy_deployments, request_kwargs=request_kwargs)
        if not isinstance(kept, list) or not isinstance(request_kwargs, dict):
            return kept
        return narrow(self, kept, request_kwargs)

    return late


def _retry(original: Callable[..., Any], goes_on: GoesOn) -> Callable[..., Any]:
    def retry(self: Any, error: Exception, *args: Any, **kwargs: Any) -> Any:
        judged = goes_on(error)
        if judged is False:
            raise error
        return True if judged else original(self, error, *args, **kwargs)

    return retry


def _stream(original: Callable[..., Any], opened: Opened) -> Callable[..., Any]:
    async def stream(self: Any, model_response: Any, *args: Any, **kwargs: Any) -> Any:
        checked = await opened(model_response, kwargs.get("deployment_slot"))
        return await original(self, checked, *args, **kwargs)

    return stream


def _events(opened: Surface, surface: str, original: Callable[..., Any]) -> Callable[..., Any]:
    async def events(self: Any, response: Any, initial_kwargs: dict[str, Any]) -> Any:
        return await original(self, opened(response, surface), initial_kwargs)

    return events


def uninstall() -> None:
    """Put LiteLLM's own functions back."""
    router, module = litellm.Router, import_module(litellm.Router.__module__)
    places = [
        *((router, name) for name in (_LATE, _RETRY, _STREAM, _ATTEMPT, *_EVENTS.values())),
        *((module, name) for name in _COOLDOWN),
    ]
    for owner, name in places:
        original = getattr(getattr(owner, name, None), "exacto_wraps", None)
        if original is not None:
            setattr(owner, name, original)
