"""The JSON API under ``/exacto/api``, for administrators and admin viewers only.

LiteLLM's own key check applies.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, HTTPException
from litellm.proxy._types import UserAPIKeyAuth  # noqa: TC002 -- FastAPI reads annotations at run time
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth
from opentelemetry.metrics import get_meter_provider

from exacto_plugin._version import __version__
from exacto_plugin.audit.hours.hour_counts import HourReader
from exacto_plugin.web.access import ADMINISTRATORS
from exacto_plugin.web.audit import add_explanations, add_records
from exacto_plugin.web.history import add_history, add_incidents
from exacto_plugin.web.overrides import OverrideRequests, add_overrides
from exacto_plugin.web.page_data import PageData, PageSources
from exacto_plugin.web.views import views_of, why_now_of

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.runtime.mirror_files import MirrorFiles
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

logger = logging.getLogger("exacto_plugin")


async def require_admin(user: UserAPIKeyAuth = Depends(user_api_key_auth)) -> UserAPIKeyAuth:  # noqa: B008
    """Return the user if the role is administrator or admin viewer, else raise 403.

    LiteLLM gives every user the role of an internal user when no master key is set, so the role is checked here.
    """
    if user.user_role not in ADMINISTRATORS:
        raise HTTPException(403, "administrators only")
    return user


NO_PAGE = "Jinja2 is not installed; it comes with litellm[proxy]"


def routers_of(runtime: Runtime) -> list[APIRouter]:
    """Build the routes of the API, and those of the page if Jinja2 is installed."""
    hours = HourReader(runtime.context.clock)
    routers = [api_router(runtime, hours)]
    if find_spec("jinja2") is None:
        logger.warning("exacto_plugin has no page at /exacto: %s", NO_PAGE)
        return routers
    from exacto_plugin.web.page import page_router
    from exacto_plugin.web.plugin_service import plugin_router
    from exacto_plugin.web.rendering import Renderer
    from exacto_plugin.web.sign_in import SignIn

    requests = OverrideRequests(runtime.engine, runtime.overrides)
    sign_in = SignIn(runtime.context.clock, runtime.store)
    page = page_router(runtime.context, page_data_of(runtime, hours), Renderer(), sign_in, requests)
    return [*routers, plugin_router(runtime.context, sign_in), page]


def page_data_of(runtime: Runtime, hours: HourReader | None = None) -> PageData:
    """Build the data of the page from the parts of this process's plugin."""
    sources = PageSources(
        runtime.context,
        views_of(runtime),
        runtime.store,
        runtime.recorder.failures,
        why_now_of(runtime),
        partial(_status, runtime),
        lambda model_group: _no_verdicts_reason(model_group, runtime),
        hours or HourReader(runtime.context.clock),
    )
    return PageData(sources)


def api_router(runtime: Runtime, hours: HourReader | None = None) -> APIRouter:
    """Build the routes, which read the parts of this process's plugin."""
    models_view = views_of(runtime)
    router = APIRouter(prefix="/exacto/api", tags=["exacto"], dependencies=[Depends(require_admin)])

    @router.get("/status")
    async def status() -> dict[str, Any]:
        """Return the plugin's state and its settings."""
        return _status(runtime)

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """Return every model group with its references and verdicts."""
        return models_view.all()

    @router.get("/models/{model_group:path}")
    async def model(model_group: str) -> dict[str, Any]:
        """Return one model group.

        Asked for again after the next recompute, it has percentiles.
        """
        group = runtime.engine.snapshot.groups.get(model_group)
        if group is None:
            raise HTTPException(404, _no_verdicts_reason(model_group, runtime))
        models_view.watch(model_group, runtime.context.clock())
        return models_view.one(group)

    add_overrides(router, OverrideRequests(runtime.engine, runtime.overrides))
    clock, store = runtime.context.clock, runtime.store
    hours = hours or HourReader(clock)
    add_explanations(router, clock, store, why_now_of(runtime))
    add_records(router, clock, store)
    add_history(router, clock, store, runtime.recorder.failures, hours)
    add_incidents(router, clock, store, runtime.recorder.failures, hours)
    return router


def _status(runtime: Runtime) -> dict[str, Any]:
    snapshot = runtime.engine.snapshot
    settings = runtime.context.settings
    return {
        "version": __version__,
        "litellm": runtime.context.features.litellm_version,
        "metrics": exporters(runtime.mirror_files),
        "prometheus_client": find_spec("prometheus_client") is not None,
        "snapshot": snapshot.id,
        "at": snapshot.at,
        "mode": settings.mode.value,
        "apply_share": settings.apply_share,
        "default_sort": settings.default_sort.value,
        "preset": settings.tiers.preset.value,
        "recompute_interval_s": settings.tiers.recompute_interval_s,
        "scoring_engine": runtime.context.evaluator.engine_name,
        "features": runtime.context.features.view(),
        "missing_seams": runtime.context.features.missing,
        "answers_with_tools": runtime.context.coverage.view(),
        "faults": dict(runtime.context.faults.counts),
        "flaws": runtime.samples.flaws.total,
        "blame": runtime.samples.flaws.by_blame,
        "settings": runtime.settings_reload.view(),
        "store": asdict(runtime.store.health),
        "sharing": runtime.replication.status(),
        "overrides": len(runtime.engine.overrides.in_force),
        "page": _page_state(settings.web.enabled),
    }


def _page_state(enabled: bool) -> dict[str, Any]:
    """Return whether the page is there, and the reason why not."""
    installed = find_spec("jinja2") is not None
    reason = None if installed and enabled else "web.enabled is false" if installed else NO_PAGE
    return {"on": reason is None, "reason": reason}


def exporters(mirror: MirrorFiles) -> list[str]:
    """Return where the metrics go: ``prometheus``, ``opentelemetry``, both or nowhere."""
    # OpenTelemetry's own provider does nothing until a process sets one.
    provider = type(get_meter_provider()).__module__
    return [*(["prometheus"] if mirror.serves else []), *(["opentelemetry"] if "sdk" in provider else [])]


def _no_verdicts_reason(model_group: str, runtime: Runtime) -> str:
    """Return the reason why a model group has no verdicts."""
    if model_group in runtime.engine.groups():
        within_s = runtime.context.settings.tiers.recompute_interval_s
        return f"{model_group!r} has no verdicts yet; the next recompute is within {within_s:g} s"
    if runtime.routers.deployments_of(model_group):
        return f"{model_group!r} has had no requests lately, so it has no verdicts"
    return f"there is no model group {model_group!r}"
