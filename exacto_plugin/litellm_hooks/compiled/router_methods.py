"""The public methods of LiteLLM's routers, each call of which is one request.

Up to 1.109 LiteLLM retries in Python, and the plugin's steps are inside that loop (:mod:`.router_patches`). Since 1.110
the loop is compiled. What it offers instead is public: the methods that the proxy and programs call, and the keywords
that they take. Around them a bad answer is replaced by that of another deployment, and the number of attempts is given
as a retry policy of the request, by which LiteLLM also retries the errors that it would not retry by itself.

Why the methods, and not LiteLLM's hooks of an answer: ``async_post_call_success_deployment_hook`` runs inside the first
attempt, so that the other answer would be logged and priced as the first deployment's, which keeps its slot meanwhile;
``async_post_call_success_hook`` and ``async_post_call_streaming_iterator_hook`` exist on the proxy only.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

import litellm

from exacto_plugin.litellm_hooks.router_core import loops_in_python, public_router
from exacto_plugin.litellm_hooks.router_patches import unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Mapping

ASYNC_METHODS: Final = (
    "acompletion",
    "aresponses",
    "aanthropic_messages",
    "anthropic_messages",
    "atext_completion",
    "agenerate_content",
    "agenerate_content_stream",
    "aembedding",
    "arerank",
    "amoderation",
    "aimage_generation",
    "atranscription",
    "aspeech",
)
"""The methods that are awaited and take a model name."""
SYNC_METHODS: Final = ("completion", "responses", "text_completion", "embedding", "image_generation")
"""The methods that are not awaited. ``anthropic_messages`` is awaited in spite of its name."""
SURFACES: Final[Mapping[str, str]] = {
    "acompletion": "chat",
    "completion": "chat",
    "aresponses": "responses",
    "aanthropic_messages": "messages",
    "anthropic_messages": "messages",
    "atext_completion": "text",
    "text_completion": "text",
}
"""The methods whose answers may be replaced, and the form of their streams."""

POSITIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "acompletion": ("model", "messages"),
    "completion": ("model", "messages"),
    "atext_completion": ("model", "prompt"),
    "text_completion": ("model", "prompt"),
    "aembedding": ("model", "input"),
    "embedding": ("model", "input"),
    "aimage_generation": ("prompt", "model"),
    "image_generation": ("prompt", "model"),
    "atranscription": ("model", "file"),
    "aspeech": ("model", "input", "voice"),
    "arerank": ("model", "query", "documents"),
    "amoderation": ("input", "model"),
    "aresponses": ("input", "model"),
}
"""Names of positional arguments, in LiteLLM's order (``litellm.router_attempt.POSITIONAL``)."""

SYNC_FIELDS: ContextVar[Mapping[str, Any] | None] = ContextVar("exacto_sync_fields", default=None)
"""The fields of a synchronous request that are meant for the plugin, and are not passed on."""

Call = Callable[[dict[str, Any]], Awaitable[Any]]
"""Makes one request with these keywords."""

_ROUTER: ContextVar[weakref.ref[Any] | None] = ContextVar("exacto_router", default=None)
"""The router whose public method runs; calls that it makes to other public methods belong to the same request."""


def current_router() -> Any:
    """Return the router whose public method runs; None outside of them."""
    found = _ROUTER.get()
    return None if found is None else found()


class RequestSteps(Protocol):
    """The plugin's steps around one request."""

    async def call(self, surface: str | None, router: Any, ask: Call, kwargs: dict[str, Any]) -> Any:
        """Make an asynchronous request by ``ask(kwargs)``; returns its answer or stream."""

    def call_sync(
        self, surface: str | None, router: Any, ask: Callable[[dict[str, Any]], Any], kwargs: dict[str, Any]
    ) -> Any:
        """Make a synchronous request."""


def needed() -> bool:
    """Return whether LiteLLM's retry loop has no seam."""
    return not loops_in_python()


def install(steps: RequestSteps) -> None:
    """Wrap the public methods of all routers, those of the proxy included."""
    for name in (*ASYNC_METHODS, *SYNC_METHODS):
        if not hasattr(litellm.Router, name):
            continue
        kind = _synchronous if name in SYNC_METHODS else _asynchronous
        wrap(litellm.Router, name, functools.partial(kind, name=name, steps=steps))


def uninstall() -> None:
    """Restore LiteLLM's own methods."""
    for name in (*ASYNC_METHODS, *SYNC_METHODS):
        unwrap(litellm.Router, name)


def _asynchronous(original: Callable[..., Any], name: str, steps: RequestSteps) -> Callable[..., Any]:
    async def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _ROUTER.get() is not None:
            return await _awaited(original(self, *args, **kwargs))
        router = public_router(self)
        args, kwargs = named_arguments(name, args, kwargs)

        async def ask(asked: dict[str, Any]) -> Any:
            token = _ROUTER.set(weakref.ref(router))
            try:
                return await _awaited(original(self, *args, **asked))
            finally:
                _ROUTER.reset(token)

        return await steps.call(SURFACES.get(name), router, ask, kwargs)

    return called


def _synchronous(original: Callable[..., Any], name: str, steps: RequestSteps) -> Callable[..., Any]:
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _ROUTER.get() is not None:
            return original(self, *args, **kwargs)
        router = public_router(self)
        args, kwargs = named_arguments(name, args, kwargs)

        def ask(asked: dict[str, Any]) -> Any:
            token = _ROUTER.set(weakref.ref(router))
            try:
                return original(self, *args, **asked)
            finally:
                _ROUTER.reset(token)

        return steps.call_sync(SURFACES.get(name), router, ask, kwargs)

    return called


def named_arguments(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments with known positional ones as keywords."""
    names = POSITIONAL.get(name, ())
    if len(args) > len(names) or kwargs.keys() & set(names[: len(args)]):
        return args, kwargs
    return (), {**dict(zip(names, args, strict=False)), **kwargs}


async def _awaited(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer
