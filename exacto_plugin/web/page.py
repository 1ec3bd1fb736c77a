"""The page at ``/exacto``: a shell without data, static files, and views.

Views are HTML, for a key in the header.

Needs Jinja2, which comes with LiteLLM's proxy; without it there is no page. No cookie is set and none is read, so a
request from another site has no key.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from exacto_plugin._version import __version__
from exacto_plugin.web.access import Visitor, visitor_of
from exacto_plugin.web.audit import Moment  # noqa: TC001 -- FastAPI reads annotations at run time
from exacto_plugin.web.overrides import OverrideRequest  # noqa: TC001 -- FastAPI reads annotations at run time
from exacto_plugin.web.page_data import NotShownError
from exacto_plugin.web.ranges import RANGES, USUAL
from exacto_plugin.web.sign_in import registered_names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.web.overrides import OverrideRequests
    from exacto_plugin.web.page_data import PageData
    from exacto_plugin.web.rendering import Renderer
    from exacto_plugin.web.sign_in import SignIn

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors "
)
POLICY = f"{_POLICY}'none'"
"""Content-Security-Policy: nothing inline, nothing from elsewhere, and in no frame."""
FRAMED_POLICY = f"{_POLICY}'self'"
"""Content-Security-Policy of the page where it is a plugin of LiteLLM's UI: frames of the proxy's own pages only."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_FRAMED = {"Content-Security-Policy": FRAMED_POLICY, "X-Frame-Options": "SAMEORIGIN"}

STATIC = {
    "page.js": "text/javascript",
    "page.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
    "uPlot.LICENSE": "text/plain",
    "favicon.svg": "image/svg+xml",
}
"""The files that the page loads, with their types."""

_PLACE = files("exacto_plugin.web") / "static"

Span = Annotated[str | None, Query(alias="range", pattern=f"^({'|'.join(RANGES)})$")]
"""The chosen range; None: none was chosen."""


@cache
def _static(name: str) -> tuple[bytes, str]:
    """Return a file and its entity tag."""
    content = (_PLACE / name).read_bytes()
    return content, f'"{hashlib.blake2b(content, digest_size=8).hexdigest()}"'


def page_router(
    context: Context, data: PageData, renderer: Renderer, sign_in: SignIn, overrides: OverrideRequests
) -> APIRouter:
    """Build the routes of the page.

    Args:
        context: has the settings.
        data: of the views.
        renderer: makes HTML of it.
        sign_in: knows the sessions that LiteLLM's UI has signed in.
        overrides: sets overrides.
    """
    router = APIRouter(include_in_schema=False)

    def enabled() -> None:
        if not context.settings.web.enabled:
            raise HTTPException(404, "the page is off: web.enabled is false")

    @router.get("/exacto", dependencies=[Depends(enabled)])
    @router.get("/exacto/", dependencies=[Depends(enabled)])
    async def shell(request: Request) -> Response:
        """Return the page without data.

        Links are relative, so that any path in front works.
        """
        base = "." if request.scope["path"].endswith("/") else "exacto"
        html = renderer.shell({"base": base, "version": __version__})
        return _html(html, _FRAMED if registered_names() else None)

    who = Depends(visitor_of(context, sign_in.session_of))
    _add_files(router, Depends(enabled))
    _add_override(router, overrides, who, Depends(enabled))
    _add_views(router, data, renderer, who, Depends(enabled))
    return router


def _html(html: str, headers: Mapping[str, str] | None = None) -> Response:
    more = {**_HEADERS, **(headers or {}), "Cache-Control": "no-store"}
    return Response(html, media_type="text/html", headers=more)


def _add_files(router: APIRouter, enabled: Any) -> None:
    @router.get("/exacto/static/{name}", dependencies=[enabled])
    async def static(name: str, request: Request) -> Response:
        """Return a file of the page."""
        if name not in STATIC:
            raise HTTPException(404, "there is no such file")
        content, tag = _static(name)
        headers = {**_HEADERS, "ETag": tag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=STATIC[name], headers=headers)


def _add_override(router: APIRouter, overrides: OverrideRequests, who: Any, enabled: Any) -> None:
    @router.post("/exacto/page/overrides", dependencies=[enabled])
    async def override(request: OverrideRequest, visitor: Visitor = who) -> dict[str, Any]:
        """Set an override, as the API does it."""
        if not visitor.may_write:
            raise HTTPException(403, "administrators only")
        return await overrides.apply(request, visitor.identity)


def _add_views(router: APIRouter, data: PageData, renderer: Renderer, who: Any, enabled: Any) -> None:
    async def answer(view: str, visitor: Visitor, found: Awaitable[dict[str, Any]], **more: Any) -> Response:
        try:
            shown = await found
        except NotShownError as reason:
            return _html(renderer.missing(view, str(reason)))
        return _html(renderer.view(view, {**shown, **more, "visitor": visitor, "now": data.now()}))

    @router.get("/exacto/page/overview", dependencies=[enabled])
    async def overview(visitor: Visitor = who, chosen: Span = None) -> Response:
        span = chosen or USUAL
        return await answer("overview", visitor, data.overview(visitor, span), span=span, chosen=chosen)

    @router.get("/exacto/page/incidents", dependencies=[enabled])
    async def incidents(visitor: Visitor = who, chosen: Span = None) -> Response:
        span = chosen or "30d"
        return await answer("incidents", visitor, data.incidents(visitor, span), span=span)

    @router.get("/exacto/page/incident", dependencies=[enabled])
    async def incident(id: str, visitor: Visitor = who) -> Response:
        return await answer("incident", visitor, data.incident(visitor, id))

    @router.get("/exacto/page/group", dependencies=[enabled])
    async def group(name: str, visitor: Visitor = who, chosen: Span = None) -> Response:
        return await answer("group", visitor, data.group(visitor, name, chosen), chosen=chosen)

    @router.get("/exacto/page/deployment", dependencies=[enabled])
    async def deployment(name: str, group: str, visitor: Visitor = who, chosen: Span = None) -> Response:
        return await answer("deployment", visitor, data.deployment(visitor, group, name, chosen), chosen=chosen)

    @router.get("/exacto/page/why", dependencies=[enabled])
    async def why(name: str, group: str, at: Moment, visitor: Visitor = who) -> Response:
        return await answer("why", visitor, data.why(visitor, group, name, min(at, data.now())), group=group, name=name)

    @router.get("/exacto/page/request", dependencies=[enabled])
    async def request(id: str = "", visitor: Visitor = who) -> Response:
        if not id:
            return _html(renderer.view("request", {"visitor": visitor, "request": None, "now": data.now()}))
        return await answer("request", visitor, data.request(visitor, id.strip()))
