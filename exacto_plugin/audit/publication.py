"""Accuracy for publication: weekly, by model and provider.

A row has no name but those that the operator wrote for publication.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit import queries
from exacto_plugin.core.routing.counterfactual import WHOLE_GROUP
from exacto_plugin.core.stats.rates import rate
from exacto_plugin.records import BenchmarkRecord
from exacto_plugin.store.rows import find
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
_MONDAY_S = 4 * DAY_S
"""The first Monday since the epoch."""
LEAST_ANSWERS = 200
"""Answers of a week from which a row is published: fewer tell more of the traffic than of the provider."""

COLUMNS = ("week", "model", "provider", "measure", "count", "accuracy", "low", "high")


class _Cell(NamedTuple):
    """A row's place: its week, and public names."""

    week: float
    model: str
    provider: str
    measure: str
    """``tool_calls``, or a benchmark's name."""


class Public(NamedTuple):
    """The names under which something may be published, and from when."""

    models: Mapping[str, str]
    providers: Mapping[str, str]
    before: float
    """Weeks that ended before this time, UTC seconds."""


def week_of(at: float) -> float:
    """Return the beginning of the week, Monday 0:00 UTC."""
    return math.floor((at - _MONDAY_S) / WEEK_S) * WEEK_S + _MONDAY_S


def publication(connection: Connection, public: Public) -> list[dict[str, Any]]:
    """Return one row for each week, model, provider and measure, under ``COLUMNS``.

    ``week`` is its first day. Accuracy is the share of good answers, or the mean score of benchmark questions, with an
    interval of 95 %.
    """
    ends = week_of(public.before)
    sums: dict[_Cell, list[float]] = defaultdict(lambda: [0.0, 0.0])
    providers: dict[tuple[str, str], str | None] = {}

    def add(at: float, group: str, deployment: str, measure: str, count: float, wrong: float) -> None:
        if (group, deployment) not in providers:
            record = queries.tier_at(connection, group, deployment, math.inf)
            providers[group, deployment] = None if record is None else public.providers.get(record.provider)
        provider = providers[group, deployment]
        if group in public.models and provider is not None and at < ends:
            own = sums[_Cell(week_of(at), public.models[group], provider, measure)]
            own[0] += count
            own[1] += wrong

    for row in queries.hours(connection, 0.0, ends, list(public.models)) if public.models else ():
        if row.deployment != WHOLE_GROUP:
            numbers = row.numbers
            add(row.at, row.model_group, row.deployment, "tool_calls", numbers.get("answers", 0), numbers.get("bad", 0))
    table: Any = table_of(BenchmarkRecord)
    for run in find(connection, BenchmarkRecord, table.c.at < ends):
        wrong = (1.0 - run.score) * run.questions
        add(run.at, run.model_group, run.deployment, run.benchmark, run.questions, wrong)
    return list(_rows(sums))


def _rows(sums: Mapping[_Cell, list[float]]) -> Iterator[dict[str, Any]]:
    for cell in sorted(sums):
        count, wrong = sums[cell]
        good = rate(count - wrong, count)
        if good is None or count < LEAST_ANSWERS:
            continue
        numbers = {"accuracy": good["value"], "low": good["low"], "high": good["high"]}
        yield {**cell._asdict(), "count": round(count), **{name: round(one, 5) for name, one in numbers.items()}}
