"""Time series of a model group's records, reduced to few points, for charts.

Numbers of deployments and references are those that were last on record at each point; counts are sums of whole hours.
Writes nothing, and phrases nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from sqlalchemy import Double, Text, func, select, type_coerce

from exacto_plugin.audit import entries, queries
from exacto_plugin.audit.hours.hour_counts import COLUMNS, ROWS, HourReader, whole
from exacto_plugin.audit.incidents.common_causes import common_causes
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

COUNTED = ("answers", "calls", "bad", *BAD_KINDS, "rescued")
"""Hourly counts of a deployment that are summed, of ``PickNumbers``."""

OWN_THRESHOLDS = ("convicts_above", "acquits_below")
"""Thresholds that a rule gives each deployment of its own, as shares of bad calls; see ``StepChoice``."""

_LEAST_STEP_S = 10.0


def group_series(
    connection: Connection,
    model_group: str,
    since: float,
    until: float,
    points: int = POINTS,
    hours: HourReader | None = None,
    now: float | None = None,
) -> Plain:
    """Return the history of a model group between two times.

    ``times`` are the ends of equal steps, and each line has a value for each of them, None where nothing was on record.
    ``hours`` has the beginnings of longer steps, with sums of the hourly counts by deployment, up to its ``until``.
    ``common_causes`` are the rises at all deployments that overlap the time.

    Args:
        connection: to the store.
        model_group: its name.
        since: UTC seconds.
        until: UTC seconds, after ``since``.
        points: most points of a line.
        hours: keeps hourly counts for the next time; None: they are read.
        now: UTC seconds, at which the hour that has begun is counted; None: ``until``.
    """
    step = max(_LEAST_STEP_S, (until - since) / points)
    count = max(1, math.ceil((until - since) / step - 1e-9))
    grid = _Grid(since, step, count)
    causes = common_causes(connection, since, until, model_group)
    return {
        "model_group": model_group,
        "since": since,
        "until": until,
        "step_s": step,
        "times": [since + step * (number + 1) for number in range(count)],
        "references": _references(connection, model_group, grid),
        "deployments": _deployments(connection, model_group, grid),
        "hours": hourly_counts(connection, model_group, since, until, points, hours, now),
        "changes": _changes(connection, model_group, since, until),
        "common_causes": [one for _, one in reversed(causes)],
    }


def _changes(connection: Connection, model_group: str, since: float, until: float) -> list[Plain]:
    changes = queries.audit(
        connection,
        kinds=("transition", "override"),
        model_group=model_group,
        since=since,
        until=until,
        limit=entries.MOST_ENTRIES,
    )
    return [{**to_wire(entry), "kind": kind} for kind, entry in reversed(changes)]


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

    def places(self, times: Sequence[float]) -> list[int]:
        """Return the place of the value that was known at the end of each step.

        -1 where there was none yet, or where it was stale.

        Args:
            times: those of the values, in order.
        """
        ends = self.since + self.step * np.arange(1, self.count + 1)
        known = np.array([-math.inf, *times])
        places = np.searchsorted(known, ends, side="left") - 1
        is_fresh = ends - known[places] <= STALE_S + self.step
        found: list[int] = np.where(is_fresh, places - 1, -1).tolist()
        return found


def _line(places: Iterable[int], values: Sequence[Any]) -> Line:
    return [values[place] if place >= 0 else None for place in places]


def _newest_of_steps(connection: Connection, table: Any, key: Any, condition: Any, grid: _Grid) -> Any:
    """Return a query of the newest row of each step and key, and of the time before."""
    number = whole(connection, (table.c.at - grid.since) / grid.step)
    within = (table.c.at >= grid.since - STALE_S, table.c.at < grid.since + grid.step * grid.count)
    return select(func.max(table.c.row)).where(condition, *within).group_by(key, number)


def _references(connection: Connection, model_group: str, grid: _Grid) -> dict[str, dict[str, Line]]:
    """Return the lines of each number of the references, by signal."""
    table: Any = table_of(ReferenceRecord)
    numbers = [column.name for column in table.c if isinstance(column.type, Double) and column.name != "at"]
    newest = _newest_of_steps(connection, table, table.c.signal, table.c.model_group == model_group, grid)
    columns = (table.c.signal, table.c.at, *(table.c[name] for name in numbers))
    rows: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(select(*columns).where(table.c.row.in_(newest)).order_by(table.c.at)):
        rows[row[0]].append(row)
    lines: dict[str, dict[str, Line]] = {}
    for signal, found in rows.items():
        # A reference is written when it changes, and with every checkpoint.
        places = grid.places([row[1] for row in found])
        lines[signal] = {name: _line(places, [row[2 + at] for row in found]) for at, name in enumerate(numbers)}
    return lines


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
    places = grid.places([row[1] for row in rows])
    chosen = [_strictness(row[5]) for row in rows]
    return {
        "provider": rows[-1][3],
        "tier": _line(places, [row[2] for row in rows]),
        "thresholds": {name: _line(places, [one.get(name) for one in chosen]) for name in OWN_THRESHOLDS},
        "signals": {signal: _signal(grid, rows, signal) for signal in sorted({one for row in rows for one in row[4]})},
    }


def _signal(grid: _Grid, rows: Sequence[Any], signal: str) -> dict[str, Line]:
    known = [(row[1], row[4][signal]) for row in rows if signal in row[4]]
    places = grid.places([at for at, _ in known])
    return {name: _line(places, [one[number] for _, one in known]) for number, name in enumerate(("value", "samples"))}


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
    connection: Connection,
    model_group: str,
    since: float,
    until: float,
    points: int = POINTS,
    hours: HourReader | None = None,
    now: float | None = None,
) -> dict[str, Any]:
    """Return sums of the hourly counts of a model group, of all workers.

    Of steps of whole hours, the first of which begins with the hour of ``since``; ``until`` is the end of the last one,
    or ``now`` where that is earlier.
    """
    first = since // HOUR_S * HOUR_S
    step = HOUR_S * max(1, math.ceil((until - first) / HOUR_S / points))
    count = max(1, math.ceil((until - first) / step))
    read = (hours or HourReader()).read(connection, model_group, first, until)
    begins = read.first + HOUR_S * np.arange(len(read.numbers))
    steps = np.zeros((count, *read.numbers.shape[1:]))
    np.add.at(steps, ((begins - first) // step).astype(int), read.numbers)
    sums = {
        name: {column: steps[:, place, COLUMNS.index(column)].tolist() for column in COUNTED}
        for place, name in enumerate(read.deployments)
        if read.of(name, ROWS).any()
    }
    whole = sums.pop(WHOLE_GROUP, None)
    return {
        "step_s": step,
        "times": [first + step * number for number in range(count)],
        "until": min(first + step * count, until if now is None else now),
        "rescued": None if whole is None else whole["rescued"],
        "deployments": sums,
    }
