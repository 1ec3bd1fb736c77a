"""Routes of a plugin of LiteLLM's UI: its manifest, and the exchange of a sign-in.

Both are open to all: the manifest has no data, and a claim is its own proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, StringConstraints

from exacto_plugin._version import __version__
from exacto_plugin.web.sign_in import SESSION_S

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.web.sign_in import SignIn

_VIEWS = {"overview": ("Overview", "DashboardOutlined"), "incidents": ("Incidents", "AlertOutlined")}
"""Views with label and icon, in LiteLLM's names of icons."""


class ClaimRequest(BaseModel):
    """The body of ``POST /exacto/api/plugin-auth``."""

    model_config = ConfigDict(extra="forbid")

    session_claim: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def plugin_router(context: Context, sign_in: SignIn) -> APIRouter:
    """Build the routes.

    Args:
        context: has the settings.
        sign_in: exchanges claims.
    """
    router = APIRouter(prefix="/exacto/api", tags=["exacto"])

    def require_page() -> None:
        if not context.settings.web.enabled:
            raise HTTPException(404, "the page is off: web.enabled is false")

    @router.get("/plugin-manifest")
    async def manifest() -> dict[str, Any]:
        """Return the page as LiteLLM's UI plugins describe themselves."""
        require_page()
        items = [
            {"key": name, "label": label, "icon": icon, "path": f"/#{name}"} for name, (label, icon) in _VIEWS.items()
        ]
        about = {"name": "exacto", "display_name": "Tool-call quality", "version": __version__}
        return {**about, "nav_items": items, "capabilities": ["tool-call-quality"]}

    @router.post("/plugin-auth")
    async def plugin_auth(request: ClaimRequest) -> dict[str, Any]:
        """Return a session of the page for the claim that LiteLLM's UI has given it."""
        require_page()
        token, session = await sign_in.session(request.session_claim)
        return {"session": token, "user_role": session.role, "expires_in": SESSION_S}

    return router
