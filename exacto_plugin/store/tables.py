"""The tables, and how an older database becomes one of this version.

Every record's table has the record's wire names as columns; the rest is what processes keep for the next start and
share.
Must not open anything.
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
    update,
)

from exacto_plugin import records
from exacto_plugin.core.wire import wire_names
from exacto_plugin.errors import StoreError
from exacto_plugin.record_kinds import RecordKind
from exacto_plugin.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Dialect

VERSION = 1
"""Of the tables that this version makes. Rises with every change."""

READABLE_FROM = 1
"""The oldest version that can still work with tables of ``VERSION``: replicas of neighbouring versions share them."""

metadata = MetaData()


class JsonText(TypeDecorator[Any]):
    """Plain data as JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To JSON."""
        return None if value is None else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From JSON."""
        return None if value is None else orjson.loads(value)


class CompressedJson(TypeDecorator[Any]):
    """Plain data as compressed JSON, where there is much of it: names repeat, and it is a third as large."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes:
        """To JSON."""
        return zlib.compress(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        """From JSON."""
        return None if value is None else orjson.loads(zlib.decompress(value))


@dataclass(frozen=True, slots=True)
class TableOfKind:
    """How a kind of record is kept."""

    table: Table
    kind: RecordKind
    key: tuple[str, ...] = ()
    """Columns of which there is one row each: a later record replaces it. Without: every record is a row."""
    named_by: tuple[RecordKind, ...] = ()
    """Kinds whose records name one of these and mean nothing without it: it is kept as long as any of them."""


_TYPES: dict[str, Any] = {
    "str": Text,
    "float": Double,
    "float | None": Double,
    "int": BigInteger,
    "bool": Boolean,
    "bytes": LargeBinary,
}

_ROW = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where they are called INTEGER."""


_PACKED = {"candidates", "attempts"}
"""Of decisions: most of what is kept."""


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
}
"""Where each record goes."""

assert set(KEPT) == set(get_args(Record))

meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))


head = Table("head", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
"""Who leads, how far the saved state reaches, which result is in force; see ``exchange``."""

batches = Table(
    "batches",
    metadata,
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("payload", Text, nullable=False),
)
"""What workers recorded and is not part of the saved windows yet: the log that a restart goes on from."""

workers = Table(
    "workers",
    metadata,
    Column("worker", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("seen", Double, nullable=False),
)
"""Each process, the last batch of it that is held, and its last sign of life."""

watched = Table(
    "watched", metadata, Column("model_group", Text, primary_key=True), Column("seen", Double, nullable=False)
)

documents = Table(
    "documents", metadata, Column("name", Text, primary_key=True), Column("payload", Text, nullable=False)
)
"""The published result, and what is remembered beside the saved windows."""

windows = Table(
    "windows",
    metadata,
    Column("model_group", Text, primary_key=True),
    Column("save", Text, primary_key=True),
    Column("live", Boolean, nullable=False),
    Column("payload", Text, nullable=False),
)
"""Saved windows of each model group; a save in progress lies beside the live one."""


class NewerSchemaError(StoreError):
    """The tables are of a version that this one cannot work with."""


def table_of(record: type[Any]) -> Table:
    """The table of a kind of record."""
    return KEPT[record].table


def are_there(connection: Connection) -> bool:
    """Whether there are tables of ours."""
    return connection.dialect.has_table(connection, meta.name)


def check_version(connection: Connection) -> None:
    """Make sure that the tables, where there are any, can be read.

    Raises:
        NewerSchemaError: they are too new.
    """
    if are_there(connection):
        _found(connection)


def _found(connection: Connection) -> int:
    """The version of the tables that there are."""
    said = {name: int(value) for name, value in connection.execute(select(meta.c.name, meta.c.value))}
    found, readable_from = said.get("schema", 0), said.get("readable_from", 0)
    if readable_from > VERSION:
        raise NewerSchemaError(f"its tables are of version {found}, and this plugin knows those up to {VERSION}")
    return found


def migrate(connection: Connection) -> None:
    """Make or bring up to date all tables, in the transaction at hand; concurrent processes wait for each other.

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
    found = _found(connection)
    for number, step in enumerate(STEPS[found - 1 :] if found < VERSION else (), start=found):
        step(connection)
        for name, value in (("schema", number + 1), ("readable_from", READABLE_FROM)):
            connection.execute(update(meta).where(meta.c.name == name).values(value=str(value)))


STEPS: Sequence[Callable[[Connection], None]] = ()
"""From version 1 to 2, from 2 to 3, ...: one step each, and a step once released is never changed."""

_LOCK = 7_236_711_904_233
"""A number of ours among PostgreSQL's advisory locks."""

assert len(STEPS) == VERSION - 1
