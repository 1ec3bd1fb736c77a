"""The entry of programs' requests into a router.

Keywords are read as a body is on the proxy (slugs, ``models``, lists). Up to 1.109 every method of a router calls two
methods with all its arguments, and those are wrapped. Newer routers have no such methods; there the public methods that
call models are wrapped.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

import litellm
from pydantic import BaseModel

from exacto_plugin.litellm_hooks.compiled.router_methods import named_arguments
from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.deployments.model_names import NameResolver, leads_to_openrouter
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.features import Feature, Gap
from exacto_plugin.litellm_hooks.http.answer_facts import answer_facts
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, no_endpoints
from exacto_plugin.litellm_hooks.request.body import needs_rewrite, rewrite_body
from exacto_plugin.litellm_hooks.request.policy import dropped_upstream
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState, SyncHandover
from exacto_plugin.litellm_hooks.router_core import ENTRIES, loops_in_python

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers

    HardFilterOf = Callable[[str, dict[str, Any], Sequence[Any]], str | None]

R = TypeVar("R")

_METHODS: Final = (
    "acompletion",
    "completion",
    "atext_completion",
    "text_completion",
    "aresponses",
    "responses",
    "aanthropic_messages",
    "anthropic_messages",
    "agenerate_content",
    "generate_content",
    "agenerate_content_stream",
    "generate_content_stream",
    "aembedding",
    "embedding",
    "arerank",
    "rerank",
    "amoderation",
    "moderation",
    "aimage_generation",
    "image_generation",
    "atranscription",
    "transcription",
    "aspeech",
    "speech",
)
"""The public methods with a model name as first argument, of every surface."""

_INSIDE: ContextVar[bool] = ContextVar("exacto_inside", default=False)
"""True while a public method of a router runs.

Calls that it makes to other public methods belong to the same request.
"""


class RouterEntries:
    """The reader of requests to attached routers. One per process.

    Args:
        context: of this process.
        routers: get to know a router by its requests.
        hard_filter_of: returns a hard filter of an attempt at a model group, from the request and deployments.
    """

    def __init__(self, context: Context, routers: Routers, hard_filter_of: HardFilterOf) -> None:
        self._context = context
        self._routers = routers
        self._hard_filter_of = hard_filter_of
        self._shared = loops_in_python()

    def gaps(self) -> list[Gap]:
        """Return the missing parts of this LiteLLM for a router's entry."""
        if self._shared or hasattr(litellm.Router, "acompletion"):
            return []
        effect = "names with suffixes are not read in programs"
        return [Gap(f"Router.{ENTRIES[0]}", (Feature.SORTS, Feature.FILTERS), effect)]

    def wrap(self, router: Any) -> None:
        """Read a router's requests from now on; does nothing if it is wrapped already."""
        names = ENTRIES if self._shared else _METHODS
        for name in names:
            method = getattr(router, name, None)
            if method is None or hasattr(method, "exacto_entry"):
                continue
            if name == ENTRIES[0]:
                wrapper = self._shared_entry(router, method)
            elif name == ENTRIES[1]:
                wrapper = self._synchronous_entry(method)
            elif inspect.iscoroutinefunction(method) or name.startswith("a"):
                wrapper = self._method(router, name, method)
            else:
                wrapper = self._synchronous_method(router, name, method)
            wrapper.exacto_entry = method  # type: ignore[attr-defined]
            setattr(router, name, wrapper)

    def unwrap(self, router: Any) -> None:
        """Restore a router's own methods."""
        for name in (*ENTRIES, *_METHODS):
            if hasattr(vars(router).get(name), "exacto_entry"):
                delattr(router, name)

    # --- wrappers --------------------------------------------------------------------------------------------------

    def _shared_entry(self, router: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        async def enter(*args: Any, **kwargs: Any) -> Any:
            first = not kwargs.get("fallback_depth")
            if first:
                self._begin(router, kwargs)
            return self._told(await original(*args, **kwargs), CURRENT.get() if first else None)

        return enter

    def _method(self, router: Any, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        async def enter(*args: Any, **kwargs: Any) -> Any:
            if _INSIDE.get():
                return await original(*args, **kwargs)
            args, kwargs = self._read(router, name, args, kwargs)
            token = _INSIDE.set(True)
            try:
                return self._told(await original(*args, **kwargs), CURRENT.get())
            finally:
                _INSIDE.reset(token)

        return enter

    def _synchronous_method(self, router: Any, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def enter(*args: Any, **kwargs: Any) -> Any:
            if _INSIDE.get():
                return original(*args, **kwargs)
            CURRENT.set(RequestState(sync=SyncHandover(in_entry=True)))
            args, kwargs = self._read(router, name, args, kwargs)
            token = _INSIDE.set(True)
            try:
                return self._told(original(*args, **kwargs), CURRENT.get())
            finally:
                _INSIDE.reset(token)

        return enter

    def _synchronous_entry(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def enter(*args: Any, **kwargs: Any) -> Any:
            if kwargs.get("fallback_depth"):
                return original(*args, **kwargs)
            # Set here as well, because the call runs in a context of its own, and a stream is read in this one.
            state = RequestState(sync=SyncHandover(in_entry=True))
            CURRENT.set(state)
            return self._told(original(*args, **kwargs), state)

        return enter

    def _told(self, answer: R, state: RequestState | None) -> R:
        """Return an answer with the facts of its routing in ``_hidden_params``."""
        if state is not None:
            self._context.faults.guard("headers", lambda: self._tell(answer, state), None)
        return answer

    def _tell(self, answer: Any, state: RequestState) -> None:
        hidden = answer.get("_hidden_params") if isinstance(answer, dict) else getattr(answer, "_hidden_params", None)
        settings = self._context.settings
        if isinstance(hidden, dict) and state.routing.policy is not None and settings.expose.headers:
            whole = isinstance(answer, BaseModel | dict)
            facts = answer_facts(state, names=settings.expose.providers, complete=whole)
            hidden["exacto"] = {name.replace("-", "_"): value for name, value in facts.items()}

    # --- reading ---------------------------------------------------------------------------------------------------

    def _read(
        self, router: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], Any]:
        """Return the arguments of a public method as they are passed on to LiteLLM.

        Of an unknown method the model name is the first positional argument or a keyword.
        """
        args, kwargs = named_arguments(name, args, kwargs)
        if not args:
            self._begin(router, kwargs)
            return args, kwargs
        named = {**kwargs, "model": args[0]}
        self._begin(router, named)
        model = named.pop("model")
        return (model, *args[1:]), named

    def _begin(self, router: Any, kwargs: dict[str, Any]) -> None:
        """Read a request's keywords, in place.

        Raises:
            ExactoRefusedError: the request is synchronous, under a hard filter, and this LiteLLM has no way to apply
                it.
        """
        begun = CURRENT.get()
        synchronous = begun is not None and begun.sync.in_entry
        self._context.faults.guard("body", lambda: self._enter(router, kwargs), None)
        if synchronous and not self._context.features.has(Feature.SYNC):
            self._refuse_unfiltered(router, kwargs)
            self._context.faults.guard("body", lambda: dropped_upstream(kwargs), None)

    def _refuse_unfiltered(self, router: Any, kwargs: dict[str, Any]) -> None:
        group = str(kwargs.get("model") or "")

        def hard_filter() -> str | None:
            # The limits of a deployment's own model groups hold for its id too.
            listed = router_view(router).deployments()
            named = [one for one in listed if litellm_id(one) == group]
            return self._hard_filter_of(group, kwargs, named)

        promise = self._context.faults.guard("filter", hard_filter, None)
        if promise is not None:
            refusal = no_endpoints(group, promise, "cannot be applied to synchronous calls of this LiteLLM", ())
            raise ExactoRefusedError(refusal, group)

    def _enter(self, router: Any, kwargs: dict[str, Any]) -> None:
        self._routers.register(router)
        begun = CURRENT.get()
        state = begun if begun is not None and begun.sync.in_entry else RequestState()
        state.sync.in_entry = False
        CURRENT.set(state)
        if needs_rewrite(kwargs):
            asked = kwargs.get("model")
            state.slugs.slug = rewrite_body(
                kwargs,
                NameResolver(router),
                preferences=self._context.settings.client_preferences == "allow",
                reads_models=lambda name: leads_to_openrouter(router, name),
            )
            for name in ("metadata", "litellm_metadata"):
                metadata = kwargs.get(name)
                if isinstance(metadata, dict) and metadata.get("model_group") == asked:
                    metadata["model_group"] = kwargs.get("model")
        state.fallbacks.has_own = bool(kwargs.get("fallbacks"))
