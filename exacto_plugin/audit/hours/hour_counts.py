"""Hourly counts of a model group as arrays, of all workers together.

The store is asked for hours of the last two days, and for older ones once an hour: those do not change, except by a
worker whose store was down for as long.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from cachetools import TTLCache
from sqlalchemy import JSON, Double, Integer, Text, cast, func, select, type_coerce

from exacto_plugin.core.routing.counterfactual import BAD_KINDS, HOUR_S
from exacto_plugin.records import HourRecord
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from sqlalchemy import Connection

ROWS = "rows"
"""Column with the number of records; zero where nothing was on record."""

COLUMNS = (
    *(ROWS, "answers", "calls", "bad", *BAD_KINDS, "rescued"),
    *("picks", "stays", "applied", "with_tiers", "without_tiers", "applied_with", "applied_without", "priced", "cost"),
)
"""``ROWS``, and fields of ``PickNumbers``. Each is read from JSON in every row, which is most of the time."""

_DAY_HOURS = 24
_OPEN_S = 48 * HOUR_S
_KEPT_S = 3600.0
_MOST_BYTES = 32_000_000


class HourCounts(NamedTuple):
    """Counts of equal hours."""

    first: float
    """Beginning of the first hour, UTC seconds."""
    deployments: tuple[str, ...]
    """In order of name; the empty name stands for the whole model group."""
    numbers: NDArray[np.float64]
    """Hours x deployments x ``COLUMNS``."""

    def of(self, deployment: str, name: str) -> NDArray[np.float64]:
        """Return one column of a deployment, by hour; zeros for an unknown one."""
        if deployment not in self.deployments:
            return np.zeros(len(self.numbers))
        return self.numbers[:, self.deployments.index(deployment), COLUMNS.index(name)]

    def between(self, since: float, until: float) -> HourCounts:
        """Return the hours that begin in a time range."""
        places = [math.ceil((at - self.first) / HOUR_S - 1e-9) for at in (since, until)]
        begin, end = (min(max(place, 0), len(self.numbers)) for place in places)
        return self._replace(first=self.first + HOUR_S * begin, numbers=self.numbers[begin : max(begin, end)])


NO_COUNTS = HourCounts(0.0, (), np.zeros((0, 0, len(COLUMNS))))

Read = dict[tuple[int, str], "NDArray[np.float64]"]
"""Number of the hour since 1970, and deployment -> ``COLUMNS``."""


def counts_of(rows: Mapping[tuple[int, str], NDArray[np.float64]], begin: int, end: int) -> HourCounts:
    """Return the counts of the hours ``begin`` to ``end``, numbers since 1970."""
    deployments = tuple(sorted({deployment for _, deployment in rows}))
    place = {name: number for number, name in enumerate(deployments)}
    numbers = np.zeros((max(0, end - begin), len(deployments), len(COLUMNS)))
    for (hour, deployment), values in rows.items():
        numbers[hour - begin, place[deployment]] = values
    return HourCounts(begin * HOUR_S, deployments, numbers)


def joined(parts: Iterable[HourCounts]) -> HourCounts:
    """Return parts that follow each other as one."""
    parts = list(parts)
    deployments = tuple(sorted({name for part in parts for name in part.deployments}))
    place = {name: number for number, name in enumerate(deployments)}
    numbers = np.zeros((sum(len(part.numbers) for part in parts), len(deployments), len(COLUMNS)))
    done = 0
    for part in parts:
        numbers[done : done + len(part.numbers), [place[name] for name in part.deployments]] = part.numbers
        done += len(part.numbers)
    return HourCounts(parts[0].first if parts else 0.0, deployments, numbers)


class HourReader:
    """Reads hourly counts, and keeps those of whole days that are over.

    For one thread at a time.

    Args:
        clock: UTC seconds; None keeps nothing.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._kept: TTLCache[tuple[str, int], HourCounts] = TTLCache(
            _MOST_BYTES, _KEPT_S, clock or (lambda: 0.0), lambda one: one.numbers.nbytes + 1000
        )

    def read(self, connection: Connection, model_group: str, since: float, until: float) -> HourCounts:
        """Return the counts of the hours on record that begin in a time range."""
        since, until = _on_record(connection, since, until)
        if since >= until:
            return NO_COUNTS._replace(first=since)
        if self._clock is None:
            begin, end = math.ceil(since / HOUR_S - 1e-9), math.ceil(until / HOUR_S - 1e-9)
            return counts_of(_read(connection, model_group, begin, end), begin, end)
        first = math.floor(since / HOUR_S / _DAY_HOURS)
        last = max(first + 1, math.ceil(until / HOUR_S / _DAY_HOURS))
        over = math.floor((self._clock() - _OPEN_S) / HOUR_S / _DAY_HOURS)
        kept = {day: self._kept.get((model_group, day)) for day in range(first, last)}
        parts: list[HourCounts] = []
        for begin, end, is_kept in _runs(kept):
            if is_kept:
                parts += [one for day in range(begin, end) if (one := kept[day]) is not None]
                continue
            hours = (begin * _DAY_HOURS, end * _DAY_HOURS)
            found = counts_of(_read(connection, model_group, *hours), *hours)
            parts.append(found)
            for number, day in enumerate(range(begin, min(end, over))):
                of_day = found.numbers[number * _DAY_HOURS : (number + 1) * _DAY_HOURS].copy()
                self._kept[model_group, day] = HourCounts(day * _DAY_HOURS * HOUR_S, found.deployments, of_day)
        return joined(parts).between(since, until)


def _runs(kept: Mapping[int, HourCounts | None]) -> Iterator[tuple[int, int, bool]]:
    """Yield days in a row that are kept, or are not."""
    days = [*kept]
    begin = days[0]
    for day in days:
        if day + 1 not in kept or (kept[day + 1] is None) != (kept[day] is None):
            yield begin, day + 1, kept[day] is not None
            begin = day + 1


def _on_record(connection: Connection, since: float, until: float) -> tuple[float, float]:
    """Return the part of a time range that has hours on record.

    A range may be of any length, and an array has a place for each of its hours.
    """
    at: Any = table_of(HourRecord).c.at
    # Each on its own is an end of the index; together they are a scan.
    ends = (select(end(at)).scalar_subquery() for end in (func.min, func.max))
    first, last = connection.execute(select(*ends)).one()
    if first is None:
        return until, until
    return max(since, first // HOUR_S * HOUR_S), min(until, last + HOUR_S)


def whole(connection: Connection, number: Any) -> Any:
    """Return a number rounded down, as SQL; in SQLite a negative one is rounded up."""
    return func.floor(number) if connection.dialect.name == "postgresql" else cast(number, Integer)


def _read(connection: Connection, model_group: str, begin: int, end: int) -> Read:
    table: Any = table_of(HourRecord)
    hour = whole(connection, table.c.at / HOUR_S).label("hour")
    within = (table.c.at >= begin * HOUR_S, table.c.at < end * HOUR_S, table.c.model_group == model_group)
    # Summed by the database: Python takes twice the time, and holds up requests meanwhile.
    totals = (func.sum(_number(connection, table.c.numbers, name)) for name in COLUMNS[1:])
    # Grouped by names: PostgreSQL takes two expressions with parameters for different ones.
    query = select(hour, table.c.deployment, func.count(), *totals).where(*within).group_by("deployment", "hour")
    return {
        (int(row[0]), row[1]): np.array([float(value or 0.0) for value in row[2:]]) for row in connection.execute(query)
    }


def _number(connection: Connection, column: Any, name: str) -> Any:
    """Return one number of a column of JSON, as SQL."""
    text = type_coerce(column, Text)
    if connection.dialect.name == "postgresql":
        return cast(func.json_extract_path_text(cast(text, JSON), name), Double)
    return func.json_extract(text, f"$.{name}")
