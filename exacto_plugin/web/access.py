"""Access to the page.

Administrators see everything, other keys what they may call, where the settings allow it.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import HTTPException, Request
from litellm.proxy._types import LitellmUserRoles, ProxyErrorTypes, ProxyException, UserAPIKeyAuth
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exacto_plugin.litellm_hooks.context import Context

ADMINISTRATORS = frozenset({LitellmUserRoles.PROXY_ADMIN, LitellmUserRoles.PROXY_ADMIN_VIEW_ONLY})

BEARER = "Bearer "

_OPEN_PATH = "/v1/models"
"""A path that LiteLLM lets every valid key call; it refuses those that it does not know to all but administrators."""


_UNKNOWN_KEY = (
    "It is not known to this proxy, which has no database of keys: needed is its master key "
    "(general_settings.master_key, LITELLM_MASTER_KEY)."
)
"""LiteLLM answers ``400 No connected db`` for any other key than the master key."""


class Session(NamedTuple):
    """The administrator that LiteLLM's UI has signed in."""

    user: str
    role: str


class Visitor(NamedTuple):
    """The holder of a key or of a sign-in, as far as the page is concerned."""

    models: frozenset[str] | None
    """The model groups that are shown; None: all, with spend, callers and requests."""
    may_write: bool = False
    """True for administrators, who may set overrides."""
    identity: str = ""
    """User or key of an administrator; a salted hash of it is on record with an override."""

    @property
    def is_admin(self) -> bool:
        """True for administrators and admin viewers."""
        return self.models is None

    def sees(self, model_group: str) -> bool:
        """Return whether a model group is shown."""
        return self.models is None or model_group in self.models


def visitor_of(
    context: Context, session_of: Callable[[str], Session | None]
) -> Callable[[Request], Awaitable[Visitor]]:
    """Return the dependency that authenticates a request to the page.

    It raises 401 or 403 for a key that has no access.

    Args:
        context: has the settings.
        session_of: returns the session that a token stands for, None for a key.
    """

    async def visitor(request: Request) -> Visitor:
        session = session_of(request.headers.get("authorization", "").removeprefix(BEARER))
        if session is not None:
            return _administrator(session.role, session.user)
        settings = context.settings
        # Views name deployments and providers.
        open_to_keys = settings.web.access == "keys" and settings.expose.providers
        user = await _authenticated(request, _OPEN_PATH if open_to_keys else request.scope["path"])
        if user.user_role in ADMINISTRATORS:
            return _administrator(user.user_role, str(user.user_id or user.api_key or ""))
        if not open_to_keys:
            raise HTTPException(403, "administrators only")
        return Visitor(await _models_of(user))

    return visitor


def _administrator(role: str, identity: str) -> Visitor:
    return Visitor(None, may_write=role == LitellmUserRoles.PROXY_ADMIN, identity=identity)


async def _authenticated(request: Request, path: str) -> UserAPIKeyAuth:
    """Return LiteLLM's answer for the request's key, as if it asked for a path.

    Raises:
        HTTPException, ProxyException: LiteLLM refuses the key. 401 where it has no database to look the key up.
    """
    root = str(request.scope.get("root_path") or "")
    whole = path if path.startswith(root) else f"{root}{path}"
    # Without the body, which FastAPI has read by now: whoever waited for it would wait for ever.
    headers = [one for one in request.scope["headers"] if not one[0].startswith(b"content-")]
    changed = {"path": whole, "raw_path": whole.encode(), "query_string": b"", "method": "GET", "headers": headers}
    asked = Request({**request.scope, **changed}, _no_body)
    given = {"request": asked, "api_key": request.headers.get("authorization") or ""}
    # The others are keys in other headers, which browsers do not send here.
    names = inspect.signature(user_api_key_auth).parameters
    try:
        user: UserAPIKeyAuth = await user_api_key_auth(**{name: given.get(name) for name in names})
    except ProxyException as refused:
        if refused.type == ProxyErrorTypes.no_db_connection:
            raise HTTPException(401, _UNKNOWN_KEY) from None
        raise
    return user


async def _no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _models_of(user: UserAPIKeyAuth) -> frozenset[str]:
    """Return the names of the models that LiteLLM lists for a key."""
    server: Any = sys.modules["litellm.proxy.proxy_server"]
    listed = await server.model_list(user_api_key_dict=user)
    return frozenset(str(one["id"]) for one in listed["data"])
