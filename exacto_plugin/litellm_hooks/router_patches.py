"""The patches of LiteLLM's router and authentication, each checked for itself.

These functions are not public hooks:

* ``Router._filter_by_routing_plugin_candidates`` runs once per attempt, after team, health, cooldown, pre-call checks
  and tags and right before the operator's ``order`` levels: the one point where narrowing can never empty the pool that
  LiteLLM's constraints left.
* ``Router.should_retry_this_error`` returns after each failed attempt whether LiteLLM's retry loop continues.
* ``Router.make_call`` is one attempt inside LiteLLM's retry loop, on every surface.
* ``set_cooldown_deployments`` and ``increment_deployment_failures_for_current_minute``, as names of the router's
  module, process a failed attempt, in the attempt's own task.
* ``Router._acompletion_streaming_iterator`` gets every chat stream before it leaves its attempt, and
  ``_aresponses_streaming_iterator`` and ``_aanthropic_messages_streaming_iterator`` those of the other two surfaces.
* ``_resolve_router_settings_model_group_alias`` of the proxy's authentication is called with the key that was found,
  before LiteLLM checks the models that the key may call.

Since 1.109 ``litellm.Router`` is a facade, and these methods are those of the core behind it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from types import CodeType
from typing import Any, Final

from exacto_plugin.litellm_hooks.features import Feature, Gap
from exacto_plugin.litellm_hooks.first_chunks import restore_first_chunk
from exacto_plugin.litellm_hooks.router_core import SelectPool, public_router, router_core

_AUTH = "litellm.proxy.auth.user_api_key_auth"

_LATE = "_filter_by_routing_plugin_candidates"
_RETRY = "should_retry_this_error"
_STREAM = "_acompletion_streaming_iterator"
_EVENTS = {"responses": "_aresponses_streaming_iterator", "messages": "_aanthropic_messages_streaming_iterator"}
_ATTEMPT = "make_call"
_COOLDOWN = ("set_cooldown_deployments", "increment_deployment_failures_for_current_minute")
_NAMES = "_resolve_router_settings_model_group_alias"

PARAMETERS: Final[Mapping[str, Sequence[str]]] = {
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
"""The parameters that the patches rely on, in LiteLLM's order.

LiteLLM may have optional ones after them.
"""

ShouldRetry = Callable[[Exception], bool | None]
"""Returns whether LiteLLM retries after an error; None leaves it to LiteLLM."""

OnStream = Callable[[Any, Any], Awaitable[Any]]
"""``on_stream(stream, slot)``: returns the stream to use from then on.

Raises the errors that an attempt may fail with.
"""

Surface = Callable[[Any, str], Any]
"""``on_stream(stream, name)``: returns the stream to use from then on.

The name of the surface is ``responses`` or ``messages``.
"""

Attempt = Callable[[Callable[[dict[str, Any]], Awaitable[Any]], dict[str, Any]], Awaitable[Any]]
"""``attempt(call, kwargs)``: makes an attempt by ``call(kwargs)``.

It may make more attempts with other arguments.
"""

Names = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
"""``names(request_data, key, request)``: called before the key limits are checked.

The key is known by then.
"""

Make = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Builds the patch from the original function."""


def fits(found: Any, expected: Sequence[str]) -> bool:
    """Return whether a function has the expected parameters, in order.

    Further parameters must be optional.
    """
    if found is None:
        return False
    parameters = list(inspect.signature(inspect.unwrap(found)).parameters.values())
    first, more = parameters[: len(expected)], parameters[len(expected) :]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    optional = all(one.default is not one.empty or one.kind in variadic for one in more)
    return optional and [one.name for one in first] == list(expected)


@functools.cache
def _used(owner: Any) -> frozenset[str]:
    """Return every name that the methods of a class use.

    The names are read from the code objects: parsing the source takes half a second.
    """
    found = [inspect.unwrap(value) for value in vars(owner).values() if inspect.isfunction(value)]
    return frozenset().union(*(names_in(method.__code__) for method in found))


def names_in(code: CodeType) -> set[str]:
    """Return the attributes and globals that some code and its inner functions use."""
    inner = (names_in(const) for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*inner)


def _has_method(name: str) -> bool:
    """Return whether the router has a method of this form, and calls it."""
    owner = router_core()
    return fits(getattr(owner, name, None), PARAMETERS[name]) and name in _used(owner)


def _install_method(name: str, make: Make, features: tuple[Feature, ...], effect: str) -> list[Gap]:
    if not _has_method(name):
        return [Gap(f"Router.{name}", features, effect)]
    wrap(router_core(), name, make)
    return []


def install_order(select_pool: SelectPool) -> list[Gap]:
    """Call ``select_pool`` with the deployments that LiteLLM's constraints left.

    The class is patched, so that routers created later are included.

    Returns:
        The patch's gap, when its target is missing; then nothing is patched.
    """
    features = (Feature.TIERS, Feature.SORTS, Feature.AFFINITY, Feature.FAILOVER)
    effect = "LiteLLM chooses among all deployments that the filters leave"
    return _install_method(_LATE, lambda original: _patch_filter(original, select_pool), features, effect)


def install_retries(should_retry: ShouldRetry) -> list[Gap]:
    """Call ``should_retry`` with the error of each attempt.

    Returns:
        The patch's gap, when its target is missing; then nothing is patched.
    """
    effect = "the number of attempts, and the errors that end them, are LiteLLM's"
    return _install_method(_RETRY, lambda original: _patch_retry(original, should_retry), (Feature.FAILOVER,), effect)


def install_streams(on_stream: OnStream) -> list[Gap]:
    """Pass each chat stream to ``on_stream`` before LiteLLM returns it.

    Returns:
        The patch's gap, when its target is missing; then nothing is patched.
    """
    features, effect = (Feature.RESCUE_STREAMS, Feature.FAILOVER), "chat streams go to the client as they come"
    return _install_method(_STREAM, lambda original: _patch_stream(original, on_stream), features, effect)


def install_events(on_stream: Surface) -> list[Gap]:
    """Pass each stream of events to ``on_stream`` before it leaves its attempt.

    Returns:
        The gaps of missing targets, whose streams stay unchanged.
    """
    gaps = []
    for surface, name in _EVENTS.items():
        effect = f"streams of {surface} go to the client as they come"
        gaps += _install_method(
            name, functools.partial(_patch_events, on_stream, surface), (Feature.RESCUE_STREAMS,), effect
        )
    return gaps


def install_attempts(attempt: Attempt, is_rescue: Callable[[], bool]) -> list[Gap]:
    """Make each attempt of LiteLLM's async retry loop through ``attempt``.

    Args:
        attempt: makes one attempt or more.
        is_rescue: returns whether the rescue makes the current attempt; its failure is left out of cooldowns.

    Returns:
        The gaps of missing targets.
    """
    features = (Feature.RESCUE, Feature.RESCUE_STREAMS)
    gaps = _install_method(
        _ATTEMPT, lambda original: _patch_attempt(original, attempt), features, "bad tool calls go to the client"
    )
    if gaps:
        return gaps
    owner, module = router_core(), import_module(router_core().__module__)

    def sparing(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: False if is_rescue() else original(*args, **kwargs)

    for name in _COOLDOWN:
        if hasattr(module, name) and name in _used(owner):
            wrap(module, name, sparing)
        else:
            gaps.append(Gap(name, (), "a rescue that fails can put its deployment into cooldown"))
    return gaps


def names_gaps() -> list[Gap]:
    """Return the gap of :func:`install_names`.

    Raises:
        ImportError: LiteLLM's proxy is not installed.
    """
    if fits(getattr(import_module(_AUTH), _NAMES, None), PARAMETERS[_NAMES]):
        return []
    effect = "suffixes of aliases that keys and teams have are read after authorization, which refuses some"
    return [Gap(f"{_AUTH}.{_NAMES}", (Feature.ALIASES,), effect)]


def install_names(names: Names) -> list[Gap]:
    """Call ``names`` for each proxy request between authentication and authorization.

    Returns:
        The patch's gap, when its target is missing.
    """
    if gaps := names_gaps():
        return gaps
    auth = import_module(_AUTH)

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def resolve(request_data: Any, valid_token: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            await names(request_data, valid_token, request)
            return await original(request_data, valid_token, request, *args, **kwargs)

        return resolve

    wrap(auth, _NAMES, make)
    return []


def wrap(owner: Any, name: str, make: Make) -> None:
    """Replace ``owner.name`` by ``make(original)``.

    An earlier patch of the plugin is replaced, not wrapped.
    """
    found = getattr(owner, name)
    original = getattr(found, "exacto_wraps", found)
    wrapper = functools.wraps(original)(make(original))
    wrapper.exacto_wraps = original  # type: ignore[attr-defined]
    setattr(owner, name, wrapper)


def unwrap(owner: Any, name: str) -> None:
    """Restore LiteLLM's own function."""
    original = getattr(getattr(owner, name, None), "exacto_wraps", None)
    if original is not None:
        setattr(owner, name, original)


def _patch_filter(original: Callable[..., Any], select_pool: SelectPool) -> Callable[..., Any]:
    def late(self: Any, healthy_deployments: Any, request_kwargs: dict[str, Any], *args: Any, **more: Any) -> Any:
        kept = original(self, healthy_deployments, request_kwargs, *args, **more)
        if not isinstance(kept, list) or not isinstance(request_kwargs, dict):
            return kept
        return select_pool(public_router(self), kept, request_kwargs)

    return late


def _patch_retry(original: Callable[..., Any], should_retry: ShouldRetry) -> Callable[..., Any]:
    def retry(self: Any, error: Exception, *args: Any, **kwargs: Any) -> Any:
        judged = should_retry(error)
        if judged is False:
            raise error
        return True if judged else original(self, error, *args, **kwargs)

    return retry


def _patch_attempt(original: Callable[..., Any], attempt: Attempt) -> Callable[..., Any]:
    async def make_call(self: Any, original_function: Any, *args: Any, **kwargs: Any) -> Any:
        return await attempt(lambda asked: original(self, original_function, *args, **asked), kwargs)

    return make_call


def _patch_stream(original: Callable[..., Any], on_stream: OnStream) -> Callable[..., Any]:
    signature = inspect.signature(original)

    async def stream(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        if not restore_first_chunk(given):
            return await original(*args, **kwargs)
        arguments = given.arguments
        arguments["model_response"] = await on_stream(arguments["model_response"], arguments.get("deployment_slot"))
        return await original(*given.args, **given.kwargs)

    return stream


def _patch_events(on_stream: Surface, surface: str, original: Callable[..., Any]) -> Callable[..., Any]:
    async def events(self: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        return await original(self, on_stream(response, surface), *args, **kwargs)

    return events


def uninstall() -> None:
    """Restore LiteLLM's own functions."""
    owner, module = router_core(), import_module(router_core().__module__)
    for name in (_LATE, _RETRY, _STREAM, _ATTEMPT, *_EVENTS.values()):
        unwrap(owner, name)
    for name in _COOLDOWN:
        unwrap(module, name)
