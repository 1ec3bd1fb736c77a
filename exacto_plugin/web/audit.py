"""Records over HTTP: why, audit, decisions and report.

For administrators and admin viewers only.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Query

from exacto_plugin.audit import views
from exacto_plugin.audit.entries import MOST_ENTRIES, reject_filters
from exacto_plugin.audit.queries import recorded_report
from exacto_plugin.core.routing.counterfactual import whole_hours
from exacto_plugin.errors import ExactoError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from exacto_plugin.store.store import Store
    from exacto_plugin.web.why_now import WhyNow

R = TypeVar("R")

Moment = Annotated[float, Query(allow_inf_nan=False)]
"""UTC seconds."""

AuditKind = Literal["transition", "override", "settings", "decision", "deployment"]

_WEEK_S = 7 * 86_400.0


def store_view(store: Store) -> dict[str, Any]:
    """Return the health of the store."""
    return asdict(store.health)


async def read_store(store: Store, query: Callable[[Connection], R]) -> R:
    """Return the result of a query of the store; raise 503 when it fails."""
    try:
        return await store.read(query)
    except StoreError as error:
        raise HTTPException(503, f"the store cannot be read: {error}") from None


def add_explanations(router: APIRouter, clock: Callable[[], float], store: Store, why_now: WhyNow) -> None:
    """Add the routes to the API.

    Args:
        router: of the API.
        clock: UTC seconds.
        store: has the records.
        why_now: answers for now.
    """

    @router.get("/why")
    async def why(deployment: str, model_group: str | None = None, at: Moment | None = None) -> dict[str, Any]:
        """Return why a deployment has its tier, or had it at a time (UTC seconds).

        There is one answer for each of its model groups.
        """
        if at is not None and at > clock():
            raise HTTPException(422, "at is in the future")
        if at is not None:
            found = await read_store(
                store,
                lambda connection: views.why_past(connection, deployment, at, past=True, model_group=model_group),
            )
        else:
            found = {"answers": await why_now.answers(deployment, model_group)}
        return {**found, "store": store_view(store)}

    @router.get("/decisions/{name}")
    async def decision(name: str) -> dict[str, Any]:
        """Return one request, by its decision id or LiteLLM's call id."""
        found = await read_store(store, lambda connection: views.decision(connection, name))
        if found is None:
            raise HTTPException(404, views.NOT_KEPT.format(name=name))
        return found


def add_records(router: APIRouter, clock: Callable[[], float], store: Store) -> None:
    """Add the routes that list records; arguments as those beside."""

    @router.get("/audit")
    async def audit(
        kinds: Annotated[list[AuditKind] | None, Query()] = None,
        model_group: str | None = None,
        deployment: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES)] = 100,
    ) -> dict[str, Any]:
        """Return the changes, newest first; times are UTC seconds."""
        try:
            reject_filters(kinds, deployment)
        except ExactoError as error:
            raise HTTPException(422, str(error)) from None
        filters = {"model_group": model_group, "deployment": deployment, "since": since, "until": until}
        found = await read_store(store, lambda connection: views.audit(connection, kinds=kinds, limit=limit, **filters))
        return {"entries": found, "store": store_view(store)}

    @router.get("/report")
    async def reported(
        since: Moment | None = None,
        until: Moment | None = None,
        model_groups: Annotated[list[str] | None, Query()] = None,
    ) -> dict[str, Any]:
        """Return what tiers changed, or would have changed; see ``exacto report``.

        The default period is a week.
        """
        ends = clock() if until is None else until
        begins = ends - _WEEK_S if since is None else since
        if begins >= ends:
            raise HTTPException(422, "since is not before until")
        found = await read_store(store, lambda connection: recorded_report(connection, begins, ends, model_groups))
        first, last = whole_hours(begins, ends, clock())
        return {"since": first, "until": last, "model_groups": found}
