"""Pure ASGI middleware in front of LiteLLM's router.

It handles slugs, ``models``, response headers and refusals. It runs before LiteLLM's authentication, so a key
restricted to ``x`` may call ``x:exacto`` and the budget of ``x`` still counts. The body is parsed once and passed on in
LiteLLM's own place for it. The middleware has no state of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from exacto_plugin.core.routing.policy import SORTING_SUFFIXES, Slug, split_slug
from exacto_plugin.litellm_hooks.deployments.model_names import (
    CLIENT_MODEL_KEY,
    MOST_PATTERN_LOOKUPS,
    NameResolver,
    leads_to_openrouter,
)
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.http.metadata import add_metadata, take_header
from exacto_plugin.litellm_hooks.http.model_list import LISTS, add_variants, listed_model, set_model_id
from exacto_plugin.litellm_hooks.http.model_routes import PathModel, is_model_route, path_model, surface_of
from exacto_plugin.litellm_hooks.http.request_body import (
    Receive,
    Scope,
    Send,
    is_json,
    parse_body,
    read_body,
    replay,
)
from exacto_plugin.litellm_hooks.http.responder import Responder
from exacto_plugin.litellm_hooks.http.response_rewrite import JsonBodyRewriter, ModelNameRewriter
from exacto_plugin.litellm_hooks.request.body import batch_slugs, needs_rewrite, rewrite_body
from exacto_plugin.litellm_hooks.request.call_details import offers_tools
from exacto_plugin.litellm_hooks.request.response_names import listed_names
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.request.model_order import ModelOrder
    from exacto_plugin.litellm_hooks.request.slugs import Listed
    from exacto_plugin.litellm_hooks.runtime.recorder import Recorder

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_PLAIN_IN_PATHS = "/:@!$&'()*+,;=~"
"""Characters that RFC 3986, section 3.3, allows unescaped in a path.

Besides letters, digits and ``-._``.
"""


class ExactoMiddleware:
    """Middleware around LiteLLM's router.

    Args:
        app: the wrapped ASGI application.
        context: of this process.
        engine: has the snapshot that metadata are from.
        routers: get to know LiteLLM's current router.
        model_order: puts the models of a request in order.
        recorder: records the end of a request.
        router: returns LiteLLM's current router, or None before it exists.
    """

    def __init__(
        self,
        app: ASGIApp,
        context: Context,
        engine: Engine,
        routers: Routers,
        model_order: ModelOrder,
        recorder: Recorder,
        router: Callable[[], Any],
    ) -> None:
        self._app = app
        self._context = context
        self._engine = engine
        self._routers = routers
        self._model_order = model_order
        self._recorder = recorder
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, self._model_list_send(scope, send))
            return
        path, root = scope["path"], scope.get("root_path", "")
        found = path_model(path, root)
        if found is None and not is_model_route(path, root):
            await self._app(scope, receive, send)
            return
        state = RequestState(http=True)
        CURRENT.set(state)
        faults = self._context.faults
        if faults.guard("metadata", lambda: take_header(scope), False) and self._context.settings.expose.headers:
            send = JsonBodyRewriter(send, lambda answer: self._add_metadata(answer, state), faults)
        faults.guard("router", lambda: self._routers.register(self._router()), None)
        if found is not None:
            faults.guard("path", lambda: self._rewrite_path(scope, found, state), None)
        if faults.guard("body", lambda: is_json(scope), False):
            body = await read_body(receive)
            changed = faults.guard("body", lambda: self._rewrite(scope, body.raw, state), None)
            receive = replay(body, changed, receive)
        named = ModelNameRewriter(send, partial(_response_name, state, responses="/responses" in scope["path"]), faults)
        try:
            await self._app(scope, receive, Responder(named, state, self._context, scope["path"]))
        finally:
            faults.guard("record", lambda: self._recorder.record_end(state), None)

    def _add_metadata(self, answer: dict[str, Any], state: RequestState) -> bool:
        return add_metadata(answer, state, self._engine.snapshot, named=self._context.settings.expose.providers)

    def _model_list_send(self, scope: Scope, send: Send) -> Send:
        """Return the ``send`` of a list of models, or of one suffixed model.

        A list gets the suffixed variants where the settings enable them.
        """
        settings, faults = self._context.settings, self._context.faults
        if scope["type"] != "http" or scope["method"] != "GET":
            return send
        suffixes = tuple(SORTING_SUFFIXES) if settings.client_preferences == "allow" else ("exacto",)
        if scope["path"].rstrip("/").endswith(LISTS):
            adding = settings.expose.variants
            return (
                JsonBodyRewriter(send, lambda answer: add_variants(answer, suffixes), faults, streams=False)
                if adding
                else send
            )
        name = faults.guard("path", lambda: self._one_model(scope, suffixes), None)
        return send if name is None else JsonBodyRewriter(send, partial(set_model_id, name=name), faults, streams=False)

    def _one_model(self, scope: Scope, suffixes: Collection[str]) -> str | None:
        """Return the suffixed name of a model lookup, and redirect the lookup.

        LiteLLM looks the model up without suffixes, and checks whether the caller may call it. None for other requests.
        """
        router = self._router()
        found = listed_model(scope["path"], scope.get("root_path", ""))
        if router is None or found is None or ":" not in found[1]:
            return None
        head, name = found
        slug = split_slug(name, NameResolver(router))
        if not slug.suffixes or not set(slug.suffixes) <= set(suffixes):
            return None
        _redirect(scope, f"{head}{slug.base}")
        return name

    def _rewrite_path(self, scope: Scope, found: PathModel, state: RequestState) -> None:
        router = self._router()
        if router is None or ":" not in found.model:
            return
        slug = split_slug(found.model, NameResolver(router))
        if slug.suffixes:
            self._take_suffixes(scope, state, found.model, slug)
            _redirect(scope, f"{found.head}{slug.base}{found.tail}")

    def _rewrite(self, scope: Scope, raw: bytes | None, state: RequestState) -> dict[str, Any] | None:
        """Parse the body, rewrite it when needed and pass it on in the scope.

        Returns the body when it changed, else None.
        """
        body = None if raw is None else parse_body(raw, scope)
        if not isinstance(body, dict):
            return None
        router = self._router()
        before = None
        if router is not None and needs_rewrite(body):
            asked = body.get("model")
            before = dict(body)
            resolve, group_of = NameResolver(router, MOST_PATTERN_LOOKUPS), _group_of(router)
            state.slugs.batch = batch_slugs(asked, resolve, group_of)
            slug = rewrite_body(
                body,
                resolve,
                preferences=self._context.settings.client_preferences == "allow",
                reads_models=lambda name: leads_to_openrouter(router, name),
                ranked=partial(self._model_order.order_models, router, body.get("provider")),
            )
            if slug is not None:
                self._take_suffixes(scope, state, _written(slug, before, resolve), slug)
            names = partial(listed_names, before, resolve, group_of)
            nothing: Listed = {}
            state.slugs.listed = self._context.faults.guard("names", names, nothing)
        state.fallbacks.has_own = bool(body.get("fallbacks"))
        if offers_tools(body):
            state.surface = surface_of(scope["path"])
        scope["parsed_body"] = (tuple(body), body)
        return dict(body) if before is not None and before != body else None

    @staticmethod
    def _take_suffixes(scope: Scope, state: RequestState, requested: str, slug: Slug) -> None:
        state.slugs.slug, state.slugs.requested = slug, requested
        scope[CLIENT_MODEL_KEY] = requested


def _written(slug: Slug, body: Mapping[str, Any], resolve: NameResolver) -> str:
    """Return a slug as the client wrote it, in ``model`` or in its list of ``models``."""
    asked, models = body.get("model"), body.get("models")
    if not models and isinstance(asked, str):
        return asked
    listed = (one for one in chain((asked,), models or ()) if isinstance(one, str))
    return next((one for one in listed if split_slug(one, resolve) == slug), slug.base)


def _redirect(scope: Scope, path: str) -> None:
    scope["path"] = path
    scope["raw_path"] = quote(path, safe=_PLAIN_IN_PATHS).encode()


def _response_name(state: RequestState, *, responses: bool) -> str:
    """Return the model name for an answer; empty where LiteLLM's name is right.

    LiteLLM's name is right except for fallback hops and Responses streams.
    """
    served = state.answered_by
    told = served.response_name if served is not None else None
    return told if told is not None else state.slugs.requested if responses else ""


def _group_of(router: Any) -> Callable[[str], str]:
    return lambda name: str(router_view(router).alias(name) or name)


def attach(app: Any, wrap: Callable[[ASGIApp], ExactoMiddleware]) -> str:
    """Put the middleware in front of LiteLLM's router.

    This works before and after the start of the application.

    Args:
        app: LiteLLM's application.
        wrap: creates the middleware around another application.

    Returns:
        How it was attached: ``already``, ``added``, ``spliced`` or ``wrapped``.
    """
    if getattr(app.state, "exacto", False):
        return "already"
    app.state.exacto = True
    if app.middleware_stack is None:
        app.add_middleware(wrap)
        return "added"
    node: Any = app.middleware_stack
    while (inner := getattr(node, "app", None)) is not None and inner is not app.router:
        node = inner
    if inner is None:  # an unknown stack: the outermost position always exists
        app.middleware_stack = wrap(app.middleware_stack)
        return "wrapped"
    node.app = wrap(inner)
    return "spliced"
