"""Pure ASGI middleware in front of LiteLLM's router.

It handles slugs, ``models``, response headers and refusals. It runs before LiteLLM's authentication, so a key
restricted to ``x`` may call ``x:exacto`` and the budget of ``x`` still counts. The body is parsed once and passed on in
LiteLLM's own place for it. The middleware has no state of its own.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from exacto_plugin.core.routing.policy import SORTING_SUFFIXES, Slug, split_slug
from exacto_plugin.litellm_hooks.deployments.model_names import CLIENT_MODEL_KEY, leads_to_openrouter, name_resolver
from exacto_plugin.litellm_hooks.http.metadata import add_metadata, take_header
from exacto_plugin.litellm_hooks.http.model_list import LISTS, add_variants, listed_model, set_model_id
from exacto_plugin.litellm_hooks.http.request_body import (
    Message,
    Receive,
    Scope,
    is_json,
    parse_body,
    read_body,
    replay,
)
from exacto_plugin.litellm_hooks.http.response_rewrite import JsonBodyRewriter, ModelNameRewriter
from exacto_plugin.litellm_hooks.refusal import match_refusal
from exacto_plugin.litellm_hooks.request.body import batch_slugs, needs_rewrite, rewrite_body
from exacto_plugin.litellm_hooks.request.model_order import order_models
from exacto_plugin.litellm_hooks.request.response_names import listed_names
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState
from exacto_plugin.litellm_hooks.rescue.rescue import header_value

if TYPE_CHECKING:
    from collections.abc import Collection

    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_NOT_PRINTABLE = re.compile(rb"[^ -~]")

_MODEL_ROUTE = re.compile(
    r"/(chat/completions|completions|responses(/compact|/input_tokens)?|messages(/count_tokens)?|embeddings"
    r"|rerank|moderations|images/(generations|edits|variations)|audio/(speech|transcriptions)|utils/token_counter"
    r"|interactions|ocr|videos)/?$"
)
"""Routes whose JSON body has a ``model``.

Administration routes are not among them (``/key/generate`` has ``models``).
"""

_PLAIN_IN_PATHS = "/:@!$&'()*+,;=~"
"""Characters that RFC 3986, section 3.3, allows unescaped in a path.

Besides letters, digits and ``-._``.
"""

_PATH_HEADS = ("/openai/deployments/", "/engines/", "/models/")
_PATH_TAIL = re.compile(
    r"(?:/(?:chat/completions|completions|embeddings|images/generations|audio/speech)"
    r"|:(?:generateContent|streamGenerateContent|countTokens))$"
)
"""Routes with the model in the path.

These are Azure's, OpenAI's old engines and Gemini's.
"""


class PathModel(NamedTuple):
    """Path with a model, split into its parts."""

    head: str
    model: str
    tail: str


def path_model(path: str) -> PathModel | None:
    """Split a path that contains a model; None for other paths.

    Takes time linear in the length of the path, since any client may send one of any length.
    """
    tail = _PATH_TAIL.search(path)
    if tail is None:
        return None
    begins = max((at + len(head) for head in _PATH_HEADS if (at := path.rfind(head, 0, tail.start())) >= 0), default=-1)
    model = path[begins : tail.start()] if begins >= 0 else ""
    if not model or model.startswith("/") or model.endswith("/"):
        return None
    return PathModel(path[:begins], model, tail.group())


class ExactoMiddleware:
    """Middleware around LiteLLM's router.

    Args:
        app: the wrapped ASGI application.
        runtime: the plugin's parts.
        router: returns LiteLLM's current router, or None before it exists.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime, router: Callable[[], Any]) -> None:
        self._app = app
        self._runtime = runtime
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, self._model_list_send(scope, send))
            return
        found = path_model(scope["path"])
        if found is None and _MODEL_ROUTE.search(scope["path"]) is None:
            await self._app(scope, receive, send)
            return
        state = RequestState(http=True)
        CURRENT.set(state)
        faults = self._runtime.faults
        if faults.guard("metadata", lambda: take_header(scope), False) and self._runtime.settings.expose.headers:
            send = JsonBodyRewriter(send, lambda answer: add_metadata(answer, state, self._runtime), faults)
        faults.guard("router", lambda: self._runtime.register_router(self._router()), None)
        if found is not None:
            faults.guard("path", lambda: self._rewrite_path(scope, found, state), None)
        if faults.guard("body", lambda: is_json(scope), False):
            body = await read_body(receive)
            changed = faults.guard("body", lambda: self._rewrite(scope, body.raw, state), None)
            receive = replay(body, changed, receive)
        named = ModelNameRewriter(send, partial(_response_name, state, responses="/responses" in scope["path"]), faults)
        try:
            await self._app(scope, receive, _Responder(named, state, self._runtime, scope["path"]))
        finally:
            faults.guard("record", lambda: self._runtime.recorder.record_end(state), None)

    def _model_list_send(self, scope: Scope, send: Send) -> Send:
        """Return the ``send`` of a list of models, or of one suffixed model.

        A list gets the suffixed variants where the settings enable them.
        """
        settings, faults = self._runtime.settings, self._runtime.faults
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
        slug = split_slug(name, name_resolver(router))
        if not slug.suffixes or not set(slug.suffixes) <= set(suffixes):
            return None
        _redirect(scope, f"{head}{slug.base}")
        return name

    def _rewrite_path(self, scope: Scope, found: PathModel, state: RequestState) -> None:
        router = self._router()
        if router is None or ":" not in found.model:
            return
        slug = split_slug(found.model, name_resolver(router))
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
            resolve, group_of = name_resolver(router), _group_of(router)
            state.batch = batch_slugs(asked, resolve, group_of)
            slug = rewrite_body(
                body,
                resolve,
                preferences=self._runtime.settings.client_preferences == "allow",
                reads_models=lambda name: leads_to_openrouter(router, name),
                ranked=partial(order_models, self._runtime, router, body.get("provider")),
            )
            if slug is not None:
                listed = (one for one in (asked, *(before.get("models") or ())) if isinstance(one, str))
                requested = next((one for one in listed if split_slug(one, resolve) == slug), slug.base)
                self._take_suffixes(scope, state, requested, slug)
            names = partial(listed_names, before, resolve, group_of)
            state.listed = self._runtime.faults.guard("names", names, {})
        state.fallbacks = bool(body.get("fallbacks"))
        scope["parsed_body"] = (tuple(body), body)
        return dict(body) if before is not None and before != body else None

    @staticmethod
    def _take_suffixes(scope: Scope, state: RequestState, requested: str, slug: Slug) -> None:
        state.slug, state.requested = slug, requested
        scope[CLIENT_MODEL_KEY] = requested


def _redirect(scope: Scope, path: str) -> None:
    scope["path"] = path
    scope["raw_path"] = quote(path, safe=_PLAIN_IN_PATHS).encode()


def _response_name(state: RequestState, *, responses: bool) -> str:
    """Return the model name for an answer; empty where LiteLLM's name is right.

    LiteLLM's name is right except for fallback hops and Responses streams.
    """
    served = state.answered_by
    told = served.response_name if served is not None else None
    return told if told is not None else state.requested if responses else ""


def _group_of(router: Any) -> Callable[[str], str]:
    return lambda name: str(router.get_model_from_alias(name) or name)


class _Responder:
    """``send`` of one request: adds headers and formats a refusal.

    A refusal gets its own status and body.
    """

    def __init__(self, send: Send, state: RequestState, runtime: Runtime, path: str) -> None:
        self._send = send
        self._state = state
        self._runtime = runtime
        self._anthropic = "/messages" in path
        self._held: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        """Pass one ASGI message on."""
        if message["type"] == "http.response.start":
            self._runtime.faults.guard("headers", lambda: self._add_headers(message), None)
            if self._state.refusals and message["status"] == 400:
                self._held = message
                return
        elif self._held is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._held)
            return
        await self._send(message)

    async def _finish(self, start: Message) -> None:
        """Send the complete error body; replace it only if it contains the refusal."""
        body = bytes(self._body)
        start, body = self._runtime.faults.guard("refusal", lambda: self._refused(start, body), (start, body))
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    def _refused(self, start: Message, body: bytes) -> tuple[Message, bytes]:
        refusal = match_refusal(body, self._state.refusals)
        if refusal is None:
            return start, body
        body = refusal.body(anthropic=self._anthropic)
        kept = [(k, v) for k, v in start["headers"] if k.lower() not in (b"content-length", b"retry-after")]
        kept.append((b"content-length", str(len(body)).encode()))
        return {**start, "status": refusal.status, "headers": [*kept, *refusal.headers()]}, body

    def _add_headers(self, message: Message) -> None:
        settings, state = self._runtime.settings, self._state
        if not settings.expose.headers or state.policy is None:
            return
        pairs = {"x-exacto-policy": state.reported_sort.value, "x-exacto-decision": state.decision_id}
        if state.snapshot_id:
            pairs["x-exacto-snapshot"] = state.snapshot_id
        served = state.answered_by
        # A header that may become wrong is omitted: LiteLLM can move a stream after these headers are sent.
        if served is not None and not (state.may_move and message["status"] == 200):
            if served.tier is not None:
                pairs["x-exacto-tier"] = served.tier.value
            if settings.expose.providers:
                pairs["x-exacto-deployment"] = served.candidate.key
                pairs["x-exacto-provider"] = served.candidate.provider
        if state.rescue is not None:
            pairs |= header_value(state.rescue, names=settings.expose.providers)
        headers = list(message.get("headers", ()))
        headers += [(name.encode(), _header(value)) for name, value in pairs.items() if value]
        message["headers"] = headers


def _header(value: str) -> bytes:
    """Encode ``value`` for a header; other characters become ``?``.

    The key of a wildcard's deployment ends with the model name that the client requested.
    """
    return _NOT_PRINTABLE.sub(b"?", value.encode("ascii", "replace"))


def attach(app: Any, runtime: Runtime, router: Callable[[], Any]) -> str:
    """Put the middleware in front of LiteLLM's router.

    This works before and after the start of the application.

    Returns:
        How it was attached: ``already``, ``added``, ``spliced`` or ``wrapped``.
    """
    if getattr(app.state, "exacto", None) is not None:
        return "already"
    app.state.exacto = runtime
    if app.middleware_stack is None:
        app.add_middleware(ExactoMiddleware, runtime=runtime, router=router)
        return "added"
    node: Any = app.middleware_stack
    while (inner := getattr(node, "app", None)) is not None and inner is not app.router:
        node = inner
    if inner is None:  # an unknown stack: the outermost position always exists
        app.middleware_stack = ExactoMiddleware(app.middleware_stack, runtime, router)
        return "wrapped"
    node.app = ExactoMiddleware(inner, runtime, router)
    return "spliced"
