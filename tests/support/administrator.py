"""An administrator of a proxy who asks its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.testclient import TestClient
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

from exacto_plugin.web.api import routers_of

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


def api_of(runtime: Runtime) -> FastAPI:
    """An application with the API and the page, for whose keys everybody is an administrator."""
    app = FastAPI()
    for router in routers_of(runtime):
        app.include_router(router)
    user = UserAPIKeyAuth(user_role=LitellmUserRoles.PROXY_ADMIN, user_id="an operator")
    app.dependency_overrides[user_api_key_auth] = lambda: user
    return app


def client_of(runtime: Runtime) -> TestClient:
    """A client of it."""
    return TestClient(api_of(runtime))
