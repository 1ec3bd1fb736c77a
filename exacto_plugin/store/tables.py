"""The tables, and the migration of an older database to this version.

The table of each record has the record's wire names as columns; the other tables hold what processes share and need
after a restart. Opens no connection.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    func,
    insert,
    select,
    text,
    update,
)

from exacto_plugin import records
from exacto_plugin.core.wire import wire_names
from exacto_plugin.errors import StoreError
from exacto_plugin.records import Record, RecordKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Dialect

VERSION = 3
"""The version of these tables. Rises with every change."""

READABLE_FROM = 1
"""The oldest version that works with tables of ``VERSION``.

Replicas of neighbouring versions share the tables."""

metadata = MetaData()


class JsonText(TypeDecorator[Any]):
    """Plain data as JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Convert to JSON."""
        return None if value is None else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Convert from JSON."""
        return None if value is None else orjson.loads(value)


class CompressedJson(TypeDecorator[Any]):
    """Plain data as compressed JSON, for large values: a third of the size."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes:
        """Convert to JSON."""
        return zlib.compress(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        """Convert from JSON."""
        return None if value is None else orjson.loads(zlib.decompress(value))


@dataclass(frozen=True, slots=True)
class TableOfKind:
    """The table of a kind of record."""

    table: Table
    kind: RecordKind
    key: tuple[str, ...] = ()
    """Columns that identify a row: a later record replaces the earlier one.

    Empty: every record is a row."""
    named_by: tuple[RecordKind, ...] = ()
    """Kinds whose records reference a record of this kind.

    It is kept as long as any of them, since they mean nothing without it."""


_TYPES: dict[str, Any] = {
    "str": Text,
    "float": Double,
    "float | None": Double,
    "int": BigInteger,
    "int | None": BigInteger,
    "bool": Boolean,
    "bytes": LargeBinary,
}

_ROW = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows automatically only in columns of type INTEGER."""


_PACKED = {"candidates", "attempts"}
"""Columns of decisions: most of the stored data."""


def _kept(
    record: type[Any],
    kind: RecordKind,
    name: str,
    *indices: tuple[str, ...],
    key: tuple[str, ...] = (),
    named_by: tuple[RecordKind, ...] = (),
) -> TableOfKind:
    columns: list[Column[Any]] = [] if key else [Column("row", _ROW, primary_key=True, autoincrement=True)]
    names = wire_names(record)
    for entry in fields(record):
        column, kept_as = names[entry.name], str(entry.type)
        form = CompressedJson if column in _PACKED else _TYPES.get(kept_as, JsonText)
        columns.append(Column(column, form, primary_key=column in key, nullable="None" in kept_as))
    table = Table(name, metadata, *columns)
    for index in indices:
        Index(f"{name}_by_{'_'.join(index)}", *(table.c[column] for column in index))
    return TableOfKind(table, kind, key, named_by)


_GROUP = ("model_group", "at")
_OF = ("model_group", "deployment", "at")

KEPT: dict[type[Any], TableOfKind] = {
    records.RuleRecord: _kept(
        records.RuleRecord, RecordKind.REFERENCES, "rules", ("at",), key=("digest",), named_by=(RecordKind.DEPLOYMENTS,)
    ),
    records.InputsRecord: _kept(records.InputsRecord, RecordKind.DEPLOYMENTS, "inputs", ("at",), _GROUP, ("snapshot",)),
    records.ReferenceRecord: _kept(records.ReferenceRecord, RecordKind.REFERENCES, "references", ("at",), _GROUP),
    records.DeploymentRecord: _kept(records.DeploymentRecord, RecordKind.DEPLOYMENTS, "deployments", ("at",), _OF),
    records.TransitionRecord: _kept(records.TransitionRecord, RecordKind.TRANSITIONS, "transitions", ("at",), _OF),
    records.DecisionRecord: _kept(
        records.DecisionRecord, RecordKind.DECISIONS, "decisions", ("at",), ("call_id",), key=("id",)
    ),
    records.HourRecord: _kept(
        records.HourRecord, RecordKind.HOURS, "hours", key=("at", "model_group", "deployment", "worker")
    ),
    records.OverrideRecord: _kept(records.OverrideRecord, RecordKind.OVERRIDES, "overrides", ("at",), ("expires",)),
    records.SettingsRecord: _kept(records.SettingsRecord, RecordKind.SETTINGS, "settings_changes", ("at",)),
    records.ObservedRecord: _kept(records.ObservedRecord, RecordKind.OBSERVED, "observed", ("at",), _OF),
    records.BenchmarkRecord: _kept(
        records.BenchmarkRecord, RecordKind.BENCHMARK_SCORES, "benchmark_scores", ("at",), _OF
    ),
    records.VerifierRecord: _kept(records.VerifierRecord, RecordKind.BENCHMARK_SCORES, "verifier_runs", ("at",), _OF),
}
"""Record class -> its table."""

assert set(KEPT) == set(get_args(Record))

ADDED: Mapping[type[Any], frozenset[str]] = {records.TransitionRecord: frozenset({"changed"})}
"""Columns that a migration added: a command may read tables that no proxy of this version has migrated."""

meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))


head = Table("head", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
"""The leader, the position of the saved state, the result in force.

See ``exchange``."""

batches = Table(
    "batches",
    metadata,
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("payload", Text, nullable=False),
)
"""Batches that the saved windows do not contain yet.

A restarted process continues from this log."""

workers = Table(
    "workers",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("seen", Double, nullable=False),
)
"""Each process, the last batch held of it, and its last heartbeat."""

watched = Table(
    "watched", metadata, Column("model_group", Text, primary_key=True), Column("seen", Double, nullable=False)
)

documents = Table(
    "documents", metadata, Column("name", Text, primary_key=True), Column("payload", Text, nullable=False)
)
"""The published result, and the state saved beside the windows."""

windows = Table(
    "windows",
    metadata,
    Column("model_group", Text, primary_key=True),
    Column("save", Text, primary_key=True),
    Column("live", Boolean, nullable=False),
    Column("payload", Text, nullable=False),
)
"""Saved windows of each model group; a save in progress has rows of its own."""


class NewerSchemaError(StoreError):
    """The tables are of a version that this one cannot work with."""


def table_of(record: type[Any]) -> Table:
    """Return the table of a kind of record."""
    return KEPT[record].table


def are_there(connection: Connection) -> bool:
    """Return True if the database has tables of this plugin."""
    return connection.dialect.has_table(connection, meta.name)


def check_version(connection: Connection) -> None:
    """Check that existing tables can be read.

    Raises:
        NewerSchemaError: they are too new.
    """
    if are_there(connection):
        _stored_version(connection)


def _stored_version(connection: Connection) -> int:
    """Return the version of the existing tables."""
    stored = {name: int(value) for name, value in connection.execute(select(meta.c.name, meta.c.value))}
    version, readable_from = stored.get("schema", 0), stored.get("readable_from", 0)
    if readable_from > VERSION:
        raise NewerSchemaError(f"its tables have version {version}; this plugin reads versions up to {VERSION}")
    return version


def migrate(connection: Connection) -> None:
    """Create the tables or migrate them, in the current transaction.

    Concurrent processes wait for each other.

    Raises:
        NewerSchemaError: the tables are too new; nothing was changed.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    if not are_there(connection):
        metadata.create_all(connection)
        rows = [{"name": "schema", "value": str(VERSION)}, {"name": "readable_from", "value": str(READABLE_FROM)}]
        connection.execute(insert(meta), rows)
        return
    version = _stored_version(connection)
    for number, step in enumerate(STEPS[version - 1 :] if version < VERSION else (), start=version):
        step(connection)
        for name, value in (("schema", number + 1), ("readable_from", READABLE_FROM)):
            connection.execute(update(meta).where(meta.c.name == name).values(value=str(value)))


def _benchmark_runs(connection: Connection) -> None:
    """Add columns of scores, which no version 1 wrote, and the verifier's runs."""
    table = table_of(records.BenchmarkRecord)
    table.drop(connection, checkfirst=True)
    table.create(connection)
    table_of(records.VerifierRecord).create(connection, checkfirst=True)


def _changes_of_calls(connection: Connection) -> None:
    """Add the times at which shares of bad calls changed, which no version 2 wrote."""
    connection.execute(text("ALTER TABLE transitions ADD COLUMN changed TEXT"))


STEPS: Sequence[Callable[[Connection], None]] = (_benchmark_runs, _changes_of_calls)
"""The migrations from version 1 to 2, from 2 to 3, ...

One step each; a released step is never changed."""

_LOCK = 7_236_711_904_233
"""The plugin's own number among PostgreSQL's advisory locks."""

assert len(STEPS) == VERSION - 1
