"""The data of each view of the page, from the same sources as the API.

Writes nothing, knows no HTML.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit import queries, views
from exacto_plugin.audit.incidents import common_causes, findings
from exacto_plugin.audit.incidents.incident_views import incident_list, incident_of, provider_file
from exacto_plugin.audit.incidents.others import others_of_groups, others_sentence
from exacto_plugin.audit.report import report
from exacto_plugin.audit.series import group_series, hour_rows
from exacto_plugin.core.routing.counterfactual import HOUR_S, SENT, WHOLE_GROUP
from exacto_plugin.errors import StoreError
from exacto_plugin.records import HourRecord
from exacto_plugin.web.history import failure_views
from exacto_plugin.web.incident_details import read_details, with_latest, with_way_back
from exacto_plugin.web.ranges import RANGES, USUAL, fitting_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Connection

    from exacto_plugin.audit.hours.hour_counts import HourReader
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.runtime.failure_log import FailureLog
    from exacto_plugin.store.store import Store
    from exacto_plugin.web.access import Visitor
    from exacto_plugin.web.views import ModelViews
    from exacto_plugin.web.why_now import WhyNow

Plain = dict[str, Any]

_RECENT_S = 6 * HOUR_S
"""Seconds whose traffic tells when missing calls will be there."""

_SUMMED = ("answers", "bad", *SENT.values())
"""Counts of the overview."""

_LATE = 3.0
"""Recompute intervals after which a snapshot is called old."""


class NotShownError(Exception):
    """There is nothing to show.

    The message says what is missing and when it will be there.
    """


class PageSources(NamedTuple):
    """The parts that the views read."""

    context: Context
    models: ModelViews
    store: Store
    failures: FailureLog
    why_now: WhyNow
    status: Callable[[], Plain]
    absence: Callable[[str], str]
    """Returns the reason why a model group has no verdicts."""
    hours: HourReader
    """Keeps hourly counts."""


class PageData:
    """The data of the views.

    Args:
        sources: of this process.
    """

    def __init__(self, sources: PageSources) -> None:
        self._of = sources

    def now(self) -> float:
        """Return UTC seconds."""
        return self._of.context.clock()

    async def _read(self, query: Callable[[Connection], Any], otherwise: Any) -> tuple[Any, str]:
        """Return the result of a query and the fault of the store; empty without one."""
        try:
            return await self._of.store.read(query), ""
        except StoreError as error:
            return otherwise, str(error)

    async def _series(self, name: str, since: float, until: float) -> tuple[Plain | None, str]:
        hours, now = self._of.hours, self.now()
        return await self._read(
            lambda connection: group_series(connection, name, since, until, hours=hours, now=now), None
        )

    async def _range(self, chosen: str | None, name: str, now: float) -> str:
        """Return the range that was chosen, else the one that fits what is on record."""
        if chosen is not None:
            return chosen
        found, _ = await self._read(lambda connection: fitting_range(connection, name, now), USUAL)
        return str(found)

    async def overview(self, visitor: Visitor, span: str) -> Plain:
        """Return all model groups with the effect of tiers, and what is wrong now."""
        now, seconds = self.now(), RANGES[span][1]
        shown = {one["model_group"]: one for one in self._groups(visitor)}
        begins = now - seconds

        def read(connection: Connection) -> tuple[list[Any], list[Plain], list[Plain]]:
            first = begins // HOUR_S * HOUR_S
            rows = hour_rows(connection, sorted(shown), first, now)
            counts = (HourRecord(at, group, name, "", dict(numbers)) for at, group, name, numbers in rows)
            told = report(counts, queries.transitions(connection, first, now, sorted(shown)))
            return rows, told, incident_list(connection, now, since=begins, hours=self._of.hours)

        (rows, told, found), fault = await self._read(read, ([], [], []))
        effects = {one["model_group"]: one for one in told}
        counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for _, group, name, numbers in rows:
            for column in _SUMMED if name != WHOLE_GROUP else ():
                counts[group][column] += numbers.get(column, 0.0)
        incidents = await with_way_back([one for one in found if visitor.sees(one["model_group"])], self._of.why_now)
        return {
            "status": self._of.status(),
            "age_s": now - float(self._of.status()["at"]),
            "late": now - float(self._of.status()["at"]) > _LATE * self._of.context.settings.tiers.recompute_interval_s,
            "store_fault": fault,
            "groups": [self._overview_of(group, effects.get(name), counts[name]) for name, group in shown.items()],
            "incidents": [one for one in incidents if one["open"]],
            "closed": [one for one in incidents if not one["open"]],
            "others": others_of_groups(shown.values(), incidents),
            "common_causes": await self._causes(shown.values(), begins),
        }

    async def _causes(self, groups: Iterable[Plain], begins: float) -> list[tuple[str, Plain]]:
        """Return model group and common cause of those that had one since a time."""
        now = self.now()
        causes = [(one["model_group"], one["common_cause"]) for one in groups if one["common_cause"]]
        return await self._with_details([one for one in causes if (one[1]["end"] or now) >= begins])

    async def _with_details(self, causes: list[tuple[str, Plain]]) -> list[tuple[str, Plain]]:
        now = self.now()
        found, _ = await self._read(lambda connection: read_details(connection, causes, now), causes)
        return list(found)

    def _overview_of(self, group: Plain, effect: Plain | None, counts: Mapping[str, float]) -> Plain:
        name = group["model_group"]
        return {
            "name": name,
            "mode": self._of.context.settings.mode_of(name).value,
            "deployments": group["deployments"],
            "answers": counts["answers"],
            "bad": counts["bad"],
            "effect": effect,
            "shares": findings.tier_shares(counts),
        }

    async def incidents(self, visitor: Visitor, span: str) -> Plain:
        """Return the incidents of a time."""
        now = self.now()
        begins = now - RANGES[span][1]
        (found, recorded), fault = await self._read(
            lambda connection: (
                incident_list(connection, now, since=begins, hours=self._of.hours),
                common_causes.common_causes(connection, begins, now),
            ),
            ([], []),
        )
        causes = with_latest(recorded, self._of.models.all()["model_groups"])
        shown = [one for one in causes if visitor.sees(one[0])]
        return {
            "incidents": [one for one in found if visitor.sees(one["model_group"])],
            "common_causes": await self._with_details(shown),
            "store_fault": fault,
        }

    async def incident(self, visitor: Visitor, name: str) -> Plain:
        """Return one incident with its series, and the file for its provider.

        Raises:
            NotShownError: it is not on record.
        """
        now = self.now()
        found, fault = await self._read(lambda connection: incident_of(connection, name, now, self._of.hours), None)
        if found is None or not visitor.sees(found["model_group"]):
            raise NotShownError(fault or f"There is no incident {name!r} on record; it may be older than what is kept.")
        around = 0.15 * ((found["until"] or now) - found["onset"]) + HOUR_S
        begins, ends = found["onset"] - around, min(now, (found["until"] or now) + around)
        group, deployment = found["model_group"], found["deployment"]
        series, _ = await self._series(group, begins, ends)
        at, past = found["since"] + 1e-3, True
        told, _ = await self._read(
            lambda connection: views.why(connection, deployment, at, past=past, model_group=group), []
        )
        failures = failure_views(self._of.failures, group, deployment)
        (shown,) = await with_way_back([found], self._of.why_now)
        causes = await self._with_details([(group, one) for one in found["common_causes"]])
        return {
            "incident": {**shown, "common_causes": [cause for _, cause in causes]},
            "others": others_of_groups(self._groups(visitor), [found]) if found["open"] else [],
            "series": series,
            "why": _shown(visitor, told),
            "file": provider_file(found, failures),
        }

    async def group(self, visitor: Visitor, name: str, chosen: str | None) -> Plain:
        """Return a model group with its series.

        Args:
            visitor: of the page.
            name: of the model group.
            chosen: name of a range; None: the one that fits what is on record.

        Raises:
            NotShownError: it has no verdicts, or is not shown to this visitor.
        """
        group = self._shown_group(visitor, name)
        now = self.now()
        span = await self._range(chosen, name, now)
        seconds = RANGES[span][1]
        series, fault = await self._series(name, now - seconds, now)
        rates, newest, newest_since = await self._lately(name, now)
        causes = [(name, group["common_cause"])] if group["common_cause"] else []
        return {
            "group": {**group, "common_cause": next((one for _, one in await self._with_details(causes)), None)},
            "preset": self._of.context.settings.tiers.preset.value,
            "others": others_sentence(group),
            "span": span,
            "incidents": await self._incidents_of(name, None, now - seconds, now),
            "series": series,
            "store_fault": fault,
            "rates": rates,
            "newest": newest,
            "newest_since": newest_since,
            "recompute_s": self._of.context.settings.tiers.recompute_interval_s,
        }

    async def deployment(self, visitor: Visitor, name: str, deployment: str, chosen: str | None) -> Plain:
        """Return a deployment: why, its series, and its latest bad answers.

        Args as those of ``group``.

        Raises:
            NotShownError: it is not served, or is not shown to this visitor.
        """
        group = self._shown_group(visitor, name)
        found = next((one for one in group["deployments"] if one["deployment"] == deployment), None)
        now = self.now()
        span = await self._range(chosen, name, now)
        seconds = RANGES[span][1]
        series, fault = await self._series(name, now - seconds, now)
        if found is None and (series is None or deployment not in series["deployments"]):
            raise NotShownError(
                f"{name!r} has no deployment {deployment!r}, and had none in the last {RANGES[span][0]}."
            )
        return {
            "group": group,
            "span": span,
            "deployment": deployment,
            "found": found,
            "why": _shown(visitor, await self._of.why_now.answers(deployment, name)),
            "series": series,
            "store_fault": fault,
            "failures": failure_views(self._of.failures, name, deployment),
            "rates": (await self._lately(name, now))[0],
            "incidents": await self._incidents_of(name, deployment, now - seconds, now),
        }

    async def why(self, visitor: Visitor, name: str, deployment: str, at: float) -> Plain:
        """Return why a deployment had its tier at a time.

        Raises:
            NotShownError: nothing is on record for it, or the store cannot be read.
        """
        self._shown_group(visitor, name)
        found, fault = await self._read(
            lambda connection: views.why_past(connection, deployment, at, past=True, model_group=name), {"answers": []}
        )
        if fault:
            raise NotShownError(fault)
        return {"answers": _shown(visitor, found["answers"]), "first_at": found.get("first_at"), "at": at}

    async def request(self, visitor: Visitor, name: str) -> Plain:
        """Return one request.

        Raises:
            NotShownError: it is not on record, or requests are not shown to this visitor.
        """
        if not visitor.is_admin:
            raise NotShownError("Requests are shown to administrators only.")
        found, fault = await self._read(lambda connection: views.decision(connection, name), None)
        if found is None:
            text = fault or views.NOT_KEPT.format(name=name)
            raise NotShownError(f"{text[0].upper()}{text[1:]}.")
        return {"request": found}

    async def _incidents_of(self, name: str, deployment: str | None, since: float, now: float) -> list[Plain]:
        found, _ = await self._read(
            lambda connection: incident_list(
                connection, now, since=since, model_group=name, deployment=deployment, hours=self._of.hours
            ),
            [],
        )
        return await with_way_back(found, self._of.why_now)

    def _groups(self, visitor: Visitor) -> list[Plain]:
        return [one for one in self._of.models.all()["model_groups"] if visitor.sees(one["model_group"])]

    def _shown_group(self, visitor: Visitor, name: str) -> Plain:
        groups: list[Plain] = self._of.models.all()["model_groups"] if visitor.sees(name) else []
        found = next((one for one in groups if one["model_group"] == name), None)
        if found is None:
            reason = self._of.absence(name) if visitor.sees(name) else f"this key may not call a model group {name!r}"
            raise NotShownError(f"{reason[0].upper()}{reason[1:]}.")
        self._of.models.watch(name, self.now())
        return {**found, "deployments": _shown(visitor, found["deployments"])}

    async def _lately(self, name: str, now: float) -> tuple[dict[str, float], dict[str, float], float]:
        """Return what each deployment got lately.

        Its answers with tools per second in the last hours, those since the beginning of the last whole hour, and that
        beginning.
        """
        hour = now // HOUR_S * HOUR_S - HOUR_S
        begins = max(now - _RECENT_S, 0.0) // HOUR_S * HOUR_S
        rows, _ = await self._read(lambda connection: hour_rows(connection, [name], begins, now), [])
        answers: dict[str, float] = defaultdict(float)
        newest: dict[str, float] = defaultdict(float)
        first = min((row[0] for row in rows), default=begins)
        for at, _, deployment, numbers in rows:
            answers[deployment] += numbers.get("answers", 0.0)
            newest[deployment] += numbers.get("answers", 0.0) if at >= hour else 0.0
        rates = {deployment: count / max(now - first, 60.0) for deployment, count in answers.items()}
        return rates, newest, max(hour, first)


def _shown(visitor: Visitor, answers: list[Plain]) -> list[Plain]:
    """Return verdicts as a visitor may see them.

    The reasons of overrides are an operator's words for operators.
    """
    if visitor.is_admin:
        return answers
    return [{**one, "override": one["override"] and {**one["override"], "reason": ""}} for one in answers]
