"""Overrides over HTTP.

Administrators and admin viewers read them; administrators alone set them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from exacto_plugin.core.routing.overrides import LONGEST_S, OverriddenVerdict, Override, OverrideAction
from exacto_plugin.litellm_hooks.runtime.overrides import UnknownDeploymentError

if TYPE_CHECKING:
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.litellm_hooks.runtime.overrides import OverrideService

Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class OverrideRequest(BaseModel):
    """The body of ``POST /exacto/api/overrides``."""

    model_config = ConfigDict(extra="forbid")

    deployment: str
    word: OverrideAction
    for_s: Annotated[float, Field(gt=0.0, le=LONGEST_S, allow_inf_nan=False)] | None = None
    """Seconds for which it is in force; not with ``reset``."""
    reason: Reason = ""
    model_group: str | None = None
    """Limits it to one model group; default: every group that the deployment serves."""

    @model_validator(mode="after")
    def _whole(self) -> OverrideRequest:
        if self.word is not OverrideAction.RESET and (self.for_s is None or not self.reason):
            raise ValueError("for_s and reason are needed")
        return self


async def require_writer(user: UserAPIKeyAuth = Depends(user_api_key_auth)) -> UserAPIKeyAuth:  # noqa: B008
    """Return the user if the role is administrator, else raise 403."""
    if user.user_role != LitellmUserRoles.PROXY_ADMIN:
        raise HTTPException(403, "administrators only")
    return user


def add_overrides(router: APIRouter, engine: Engine, service: OverrideService) -> None:
    """Add the routes to the API.

    Args:
        router: of the API.
        engine: has the verdicts, and the overrides in force.
        service: sets overrides.
    """

    def override_view(override: Override) -> dict[str, Any]:
        verdict = engine.snapshot.verdict(override.model_group, override.deployment)
        measured = verdict.measured if isinstance(verdict, OverriddenVerdict) else verdict and verdict.tier
        return {**override.as_plain(), "measured_tier": measured.value if measured else None}

    @router.get("/overrides")
    async def overrides() -> dict[str, Any]:
        """Return the overrides in force."""
        return {"overrides": [override_view(one) for one in engine.overrides.in_force]}

    @router.post("/overrides")
    async def override(request: OverrideRequest, user: UserAPIKeyAuth = Depends(require_writer)) -> dict[str, Any]:  # noqa: B008
        """Set an override of a deployment, or remove it."""
        author = service.author(str(user.user_id or user.api_key or ""))
        try:
            done = await service.apply_override(
                request.word,
                request.deployment,
                request.for_s or LONGEST_S,
                request.reason,
                author,
                request.model_group,
            )
        except UnknownDeploymentError as error:
            raise HTTPException(404, str(error)) from None
        return {"overrides": [override_view(one) for one in done.words], "kept": done.kept}
