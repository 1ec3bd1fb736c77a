"""Time series of a model group's records, reduced to few points, for charts.

Numbers of deployments and references are those that were last on record at each point; counts are sums of whole hours.
Writes nothing, and phrases nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import JSON, Double, Integer, Text, cast, func, select, type_coerce

from exacto_plugin.audit import entries, queries
from exacto_plugin.audit.why import STALE_S
from exacto_plugin.core.routing.counterfactual import BAD_KINDS, HOUR_S, WHOLE_GROUP
from exacto_plugin.core.wire import to_wire
from exacto_plugin.records import DeploymentRecord, HourRecord, ReferenceRecord
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

Plain = dict[str, Any]
Line = list[Any]

POINTS = 120
"""Points of a series by default: as many as 600 pixels distinguish at 5 pixels each."""

MOST_POINTS = 1000

COUNTED = ("answers", "bad", *BAD_KINDS, "rescued")
"""Hourly counts of a deployment that are summed, of ``PickNumbers``.
Each is read from JSON in every row, which is most of the time that a month takes."""

OWN_THRESHOLDS = ("convicts_above", "acquits_below")
"""Thresholds that a rule gives each deployment of its own, as shares of bad calls; see ``StepChoice``."""

_LEAST_STEP_S = 10.0


def group_series(connection: Connection, model_group: str, since: float, until: float, points: int = POINTS) -> Plain:
    """Return the history of a model group between two times.

    ``times`` are the ends of equal steps, and each line has a value for each of them, None where nothing was on record.
    ``hours`` has the beginnings of longer steps, with sums of the hourly counts by deployment.

    Args:
        connection: to the store.
        model_group: its name.
        since: UTC seconds.
        until: UTC seconds, after ``since``.
        points: most points of a line.
    """
    step = max(_LEAST_STEP_S, (until - since) / points)
    count = max(1, math.ceil((until - since) / step - 1e-9))
    grid = _Grid(since, step, count)
    changes = queries.audit(
        connection,
        kinds=("transition", "override"),
        model_group=model_group,
        since=since,
        until=until,
        limit=entries.MOST_ENTRIES,
    )
    return {
        "model_group": model_group,
        "since": since,
        "until": until,
        "step_s": step,
        "times": [since + step * (number + 1) for number in range(count)],
        "references": _references(connection, model_group, grid),
        "deployments": _deployments(connection, model_group, grid),
        "hours": hourly_counts(connection, model_group, since, until, points),
        "changes": [{**to_wire(entry), "kind": kind} for kind, entry in reversed(changes)],
    }


class _Grid:
    """Equal steps of time.

    Args:
        since: beginning of the first step, UTC seconds.
        step: seconds.
        count: number of steps.
    """

    def __init__(self, since: float, step: float, count: int) -> None:
        self.since = since
        self.step = step
        self.count = count

    def line(self, known: Iterable[tuple[float, Any]], *, lasts: bool = False) -> Line:
        """Return the value that was known at the end of each step.

        Args:
            known: times and values, in order of time.
            lasts: True for values that hold until the next one; else they are left out when they are stale.
        """
        values: Line = [None] * self.count
        entries = list(known)
        place = -1
        for number in range(self.count):
            end = self.since + self.step * (number + 1)
            while place + 1 < len(entries) and entries[place + 1][0] < end:
                place += 1
            if place >= 0 and (lasts or end - entries[place][0] <= STALE_S + self.step):
                values[number] = entries[place][1]
        return values


def _newest_of_steps(connection: Connection, table: Any, key: Any, condition: Any, grid: _Grid) -> Any:
    """Return a query of the newest row of each step and key, and of the time before."""
    number = _step_number(connection, table.c.at, grid.since, grid.step)
    within = (table.c.at >= grid.since - STALE_S, table.c.at < grid.since + grid.step * grid.count)
    return select(func.max(table.c.row)).where(condition, *within).group_by(key, number)


def _step_number(connection: Connection, at: Any, since: float, step: float) -> Any:
    """Return the number of the step that a time is in, as SQL."""
    steps = (at - since) / step
    return func.floor(steps) if connection.dialect.name == "postgresql" else cast(steps, Integer)


def _number(connection: Connection, column: Any, name: str) -> Any:
    """Return one number of a column of JSON, as SQL."""
    text = type_coerce(column, Text)
    if connection.dialect.name == "postgresql":
        return cast(func.json_extract_path_text(cast(text, JSON), name), Double)
    return func.json_extract(text, f"$.{name}")


def _references(connection: Connection, model_group: str, grid: _Grid) -> dict[str, dict[str, Line]]:
    """Return the lines of each number of the references, by signal."""
    table: Any = table_of(ReferenceRecord)
    numbers = [column.name for column in table.c if isinstance(column.type, Double) and column.name != "at"]
    newest = _newest_of_steps(connection, table, table.c.signal, table.c.model_group == model_group, grid)
    columns = (table.c.signal, table.c.at, *(table.c[name] for name in numbers))
    rows: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(select(*columns).where(table.c.row.in_(newest)).order_by(table.c.at)):
        rows[row[0]].append(row)
    return {
        # A reference is written when it changes, and with every checkpoint.
        signal: {name: grid.line((row[1], row[2 + place]) for row in found) for place, name in enumerate(numbers)}
        for signal, found in rows.items()
    }


def _deployments(connection: Connection, model_group: str, grid: _Grid) -> dict[str, Plain]:
    """Return the lines of each deployment.

    Its tier, its own thresholds, and value and samples by signal.
    """
    table: Any = table_of(DeploymentRecord)
    newest = _newest_of_steps(connection, table, table.c.deployment, table.c.model_group == model_group, grid)
    reasons = type_coerce(table.c.reasons, Text)
    columns = (table.c.deployment, table.c.at, table.c.tier, table.c.provider, table.c.signals, reasons)
    rows: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(select(*columns).where(table.c.row.in_(newest)).order_by(table.c.at)):
        rows[row[0]].append(row)
    return {name: _deployment(grid, found) for name, found in sorted(rows.items())}


def _deployment(grid: _Grid, rows: Sequence[Any]) -> Plain:
    signals = sorted({signal for row in rows for signal in row[4]})
    chosen = [(row[1], _strictness(row[5])) for row in rows]
    return {
        "provider": rows[-1][3],
        "tier": grid.line((row[1], row[2]) for row in rows),
        "thresholds": {name: grid.line((at, one.get(name)) for at, one in chosen) for name in OWN_THRESHOLDS},
        "signals": {
            signal: {
                name: grid.line((row[1], row[4][signal][place]) for row in rows if signal in row[4])
                for place, name in enumerate(("value", "samples"))
            }
            for signal in signals
        },
    }


def _strictness(reasons: str) -> Mapping[str, Any]:
    """Return the deployment's own thresholds of its reasons.

    Empty where the rule has one for all.
    """
    # Most of the time of a long series goes into reading reasons, so those without thresholds are not read.
    if '"strictness"' not in reasons:
        return {}
    return next((one["strictness"] for one in orjson.loads(reasons) if one.get("strictness")), {})


def hour_rows(
    connection: Connection, model_groups: Sequence[str], since: float, until: float
) -> list[tuple[float, str, str, Mapping[str, float]]]:
    """Return hour, model group, deployment and counts of each row.

    Of all workers; rows that begin in a time range.
    """
    table: Any = table_of(HourRecord)
    columns = (table.c.at, table.c.model_group, table.c.deployment, type_coerce(table.c.numbers, Text))
    within = (table.c.at >= since, table.c.at < until, table.c.model_group.in_(model_groups))
    rows = connection.execute(select(*columns).where(*within)).all()
    # Parsed at once: the driver's own conversion of each row takes twice the time of everything else.
    numbers = orjson.loads(f"[{','.join(row[3] for row in rows)}]")
    return [(row[0], row[1], row[2], counted) for row, counted in zip(rows, numbers, strict=True)]


def hourly_counts(
    connection: Connection, model_group: str, since: float, until: float, points: int = POINTS
) -> dict[str, Any]:
    """Return sums of the hourly counts of a model group, of all workers.

    Of steps of whole hours, the first of which begins with the hour of ``since``.
    """
    first = since // HOUR_S * HOUR_S
    step = HOUR_S * max(1, math.ceil((until - first) / HOUR_S / points))
    count = max(1, math.ceil((until - first) / step))
    table: Any = table_of(HourRecord)
    place = _step_number(connection, table.c.at, first, step).label("place")
    within = (table.c.at >= first, table.c.at < until, table.c.model_group == model_group)
    # Summed by the database: Python takes twice the time, and holds up requests meanwhile.
    totals = (func.sum(_number(connection, table.c.numbers, name)) for name in COUNTED)
    # Grouped by names: PostgreSQL takes two expressions with parameters for different ones.
    query = select(table.c.deployment, place, *totals).where(*within).group_by("deployment", "place")
    sums: dict[str, dict[str, list[float]]] = {}
    for deployment, number, *values in connection.execute(query):
        lines = sums.setdefault(deployment, {name: [0.0] * count for name in COUNTED})
        for name, value in zip(COUNTED, values, strict=True):
            lines[name][int(number)] = float(value or 0.0)
    whole = sums.pop(WHOLE_GROUP, None)
    return {
        "step_s": step,
        "times": [first + step * number for number in range(count)],
        "rescued": None if whole is None else whole["rescued"],
        "deployments": dict(sorted(sums.items())),
    }
