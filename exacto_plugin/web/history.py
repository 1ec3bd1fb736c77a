"""Histories over HTTP: time series, incidents, the latest bad answers.

For administrators and admin viewers only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import JSONResponse

from exacto_plugin.audit.incidents.incident_paragraph import incident_sentence
from exacto_plugin.audit.incidents.incident_views import incident_list, incident_of, provider_file
from exacto_plugin.audit.series import MOST_POINTS, POINTS, group_series
from exacto_plugin.web.audit import Moment, read_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exacto_plugin.audit.hours.hour_counts import HourReader
    from exacto_plugin.litellm_hooks.runtime.failure_log import FailureLog
    from exacto_plugin.store.store import Store

DAY_S = 86_400.0


def failure_views(failures: FailureLog, model_group: str, deployment: str) -> list[dict[str, Any]]:
    """Return the latest bad answers that this process saw, newest first."""
    return [one._asdict() for one in failures.of(model_group, deployment)]


def add_history(
    router: APIRouter, clock: Callable[[], float], store: Store, failures: FailureLog, hours: HourReader
) -> None:
    """Add the routes to the API.

    Args:
        router: of the API.
        clock: UTC seconds.
        store: has the records.
        failures: the latest bad answers of this process.
        hours: keeps hourly counts.
    """

    @router.get("/series")
    async def series(
        model_group: str,
        since: Moment | None = None,
        until: Moment | None = None,
        points: Annotated[int, Query(ge=1, le=MOST_POINTS)] = POINTS,
    ) -> JSONResponse:
        """Return the history of a model group; the default period is a day."""
        now = clock()
        ends = now if until is None else until
        begins = ends - DAY_S if since is None else since
        if begins >= ends:
            raise HTTPException(422, "since is not before until")
        found = await read_store(
            store, lambda connection: group_series(connection, model_group, begins, ends, points, hours, now)
        )
        # FastAPI would look at every number before: a third of the time of a month.
        return JSONResponse(found)

    @router.get("/failures")
    async def latest_failures(model_group: str, deployment: str) -> dict[str, Any]:
        """Return the latest bad answers of a deployment: kind and schema path.

        Those that the answering worker saw.
        """
        return {"failures": failure_views(failures, model_group, deployment)}


def add_incidents(
    router: APIRouter, clock: Callable[[], float], store: Store, failures: FailureLog, hours: HourReader
) -> None:
    """Add the routes about incidents; arguments as those beside."""

    @router.get("/incidents")
    async def incidents(
        since: Moment | None = None,
        until: Moment | None = None,
        model_group: str | None = None,
        deployment: str | None = None,
    ) -> dict[str, Any]:
        """Return the incidents that overlap a time range, open ones first.

        The default is all on record.
        """
        found = await read_store(
            store,
            lambda connection: incident_list(
                connection,
                clock(),
                since=since,
                until=until,
                model_group=model_group,
                deployment=deployment,
                hours=hours,
            ),
        )
        return {"incidents": [{**one, "sentence": incident_sentence(one)} for one in found]}

    async def _found(name: str) -> dict[str, Any]:
        found = await read_store(store, lambda connection: incident_of(connection, name, clock(), hours))
        if found is None:
            raise HTTPException(404, f"incident {name!r} is not on record")
        return found

    _add_one_incident(router, _found, failures)


def _add_one_incident(
    router: APIRouter, found_by: Callable[[str], Awaitable[dict[str, Any]]], failures: FailureLog
) -> None:
    @router.get("/incidents/{name}")
    async def incident(name: str) -> dict[str, Any]:
        """Return one incident with its timeline."""
        found = await found_by(name)
        return {**found, "sentence": incident_sentence(found)}

    @router.get("/incidents/{name}/file")
    async def file(name: str) -> dict[str, Any]:
        """Return what the provider may see of an incident.

        Nothing of other deployments, callers and spend.
        """
        found = await found_by(name)
        return provider_file(found, failure_views(failures, found["model_group"], found["deployment"]))
