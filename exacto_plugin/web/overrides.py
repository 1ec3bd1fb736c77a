"""Overrides over HTTP.

Administrators and admin viewers read them; administrators alone set them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from exacto_plugin.audit.names import KnownDeployment, resolve_deployment
from exacto_plugin.core.routing.overrides import LONGEST_S, OverriddenVerdict, Override, OverrideAction
from exacto_plugin.errors import ExactoError, UnknownNameError
from exacto_plugin.litellm_hooks.runtime.overrides import UnknownDeploymentError

if TYPE_CHECKING:
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.litellm_hooks.runtime.overrides import OverrideService

Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class OverrideRequest(BaseModel):
    """The body of ``POST /exacto/api/overrides``."""

    model_config = ConfigDict(extra="forbid")

    deployment: str
    """Its name, its id or its provider."""
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


class OverrideRequests:
    """Overrides as the API and the page set and show them.

    Args:
        engine: has the verdicts, and the overrides in force.
        service: sets overrides.
    """

    def __init__(self, engine: Engine, service: OverrideService) -> None:
        self._engine = engine
        self._service = service

    def in_force(self) -> dict[str, Any]:
        """Return the overrides in force."""
        return {"overrides": [self._view(one) for one in self._engine.overrides.in_force]}

    async def apply(self, request: OverrideRequest, identity: str) -> dict[str, Any]:
        """Set an override of a deployment, or remove it.

        Args:
            request: what is asked for.
            identity: of the administrator; a salted hash of it is on record.

        Raises:
            HTTPException: 404, there is no such deployment; 422, the name means several.
        """
        word, reason, seconds = request.word, request.reason, request.for_s or LONGEST_S
        meant = self._meant(request.deployment, request.model_group)
        author = self._service.author(identity)
        try:
            done = await self._service.apply_override(word, meant, seconds, reason, author, request.model_group)
        except UnknownDeploymentError as error:
            raise HTTPException(404, str(error)) from None
        return {"overrides": [self._view(one) for one in done.words], "kept": done.kept}

    def _meant(self, name: str, model_group: str | None) -> str:
        """Return the key that a name means.

        An id of LiteLLM's, which the service knows, is returned as it is.
        """
        known = [
            KnownDeployment(group, one.key, one.provider)
            for group, candidates in self._service.known().items()
            for one in candidates
        ]
        try:
            return resolve_deployment(name, known, model_group)
        except UnknownNameError:
            return name
        except ExactoError as error:
            raise HTTPException(422, str(error)) from None

    def _view(self, override: Override) -> dict[str, Any]:
        verdict = self._engine.snapshot.verdict(override.model_group, override.deployment)
        measured = verdict.measured if isinstance(verdict, OverriddenVerdict) else verdict and verdict.tier
        return {**override.as_plain(), "measured_tier": measured.value if measured else None}


def add_overrides(router: APIRouter, requests: OverrideRequests) -> None:
    """Add the routes to the API.

    Args:
        router: of the API.
        requests: sets and shows overrides.
    """

    @router.get("/overrides")
    async def overrides() -> dict[str, Any]:
        """Return the overrides in force."""
        return requests.in_force()

    @router.post("/overrides")
    async def override(request: OverrideRequest, user: UserAPIKeyAuth = Depends(require_writer)) -> dict[str, Any]:  # noqa: B008
        """Set an override of a deployment, or remove it."""
        return await requests.apply(request, str(user.user_id or user.api_key or ""))
