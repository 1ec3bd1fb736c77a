"""Runs on record: which ones there are, and the addition of a log."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from exacto_plugin.bench.ingest import Known, records_of
from exacto_plugin.bench.logs.reading import read_runs
from exacto_plugin.records import BenchmarkRecord
from exacto_plugin.store.database import connect
from exacto_plugin.store.rows import insert_all
from exacto_plugin.store.tables import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from exacto_plugin.store.location import StoreLocation

Kept = dict[tuple[str, str], str]
"""Runs on record: digest of the log and deployment -> the reason of the refusal, empty for accepted ones."""


def kept_runs(connection: Connection) -> Kept:
    """Return the runs on record.

    A log that was refused under a wrong name can be read again under the right one.
    """
    table = table_of(BenchmarkRecord)
    rows = connection.execute(select(table.c.run, table.c.deployment, table.c.refused))
    return {(run, deployment): refused for run, deployment, refused in rows}


def accepted_logs(kept: Kept) -> set[str]:
    """Return the digests of the logs that count."""
    return {log for (log, _), refused in kept.items() if not refused}


def new_ones(records: Iterable[BenchmarkRecord], kept: Kept) -> list[BenchmarkRecord]:
    """Return those that add something: a refusal on record is not repeated."""
    return [record for record in records if not (record.refused and (record.run, record.deployment) in kept)]


def add_log(
    location: StoreLocation,
    log: Path,
    named: Sequence[Known],
    inspect: str | None,
    more: Mapping[str, Any] | None = None,
) -> list[BenchmarkRecord]:
    """Write the runs of a log, accepted or refused, and return their records.

    Args:
        location: of the store.
        log: as a benchmark program wrote it.
        named: the deployment that was asked, in each of its model groups.
        inspect: the program that can read it.
        more: must be equal too for two scores to be compared, and is not in the log.

    Raises:
        LogError: it cannot be read.
        SQLAlchemyError, OSError: the store cannot be written.
    """
    runs = read_runs(log, inspect)
    if more:
        runs = [replace(run, configuration={**run.configuration, **more}) for run in runs]
    with connect(location, writing=True) as connection, connection.begin():
        kept = kept_runs(connection)
        seen = accepted_logs(kept)
        made = [record for run in runs for record in records_of(run, named, named, seen, time.time())]
        insert_all(connection, new_ones(made, kept))
    return made
