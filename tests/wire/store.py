"""What the store and the log of outcomes hold: tables and columns, and the JSON inside of columns."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from exacto_plugin.core.model import Blame, DeploymentKey, Flaw, Outcome, Sample
from exacto_plugin.sharing.codec import unpack
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.sample_log import members_line, sample_line
from exacto_plugin.store.tables import READABLE_FROM, VERSION, CompressedJson, JsonText, metadata
from tests.wire.engine import START
from tests.wire.plain import inflated, shape
from tests.wire.story import NAMES, story

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Table


def tables() -> Any:
    """Every table, column and index, as the two databases are told of them; and the version of it all."""
    dialects: dict[str, Any] = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}  # type: ignore[no-untyped-call]

    def told(table: Table, dialect: Any) -> list[str]:
        clauses: list[Any] = [CreateTable(table)]
        clauses += map(CreateIndex, sorted(table.indexes, key=lambda one: str(one.name)))
        return [" ".join(str(clause.compile(dialect=dialect)).split()) for clause in clauses]

    return {
        "version": VERSION,
        "readable from": READABLE_FROM,
        **{
            name: {table.name: told(table, dialect) for table in metadata.sorted_tables}
            for name, dialect in dialects.items()
        },
    }


def _rows() -> dict[str, list[dict[str, Any]]]:
    """All rows of the story's store, by table."""
    with connect(location_of_url(f"sqlite:///{story().store}"), writing=False) as connection, connection.begin():
        return {
            table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for table in metadata.sorted_tables
        }


def stored_json() -> Any:
    """What is inside of columns that hold plain data, by table and column."""
    rows = _rows()
    return {
        f"{table.name}.{column.name}": shape([row[column.name] for row in rows[table.name]], NAMES)
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, JsonText | CompressedJson)
    }


def shared_store() -> Any:
    """What processes share through the store, and what the next start begins with."""
    rows = _rows()
    payloads = {row["name"]: unpack(row["payload"]) for row in rows["documents"]}
    return {
        "meta": {row["name"]: row["value"] for row in rows["meta"]},
        "head": sorted(row["name"] for row in rows["head"]),
        "documents": {name: shape(payload, NAMES) for name, payload in payloads.items()},
        "batches": shape([unpack(row["payload"]) for row in rows["batches"]], NAMES),
        "windows": shape([dict(_windows(row["payload"])) for row in rows["windows"]], NAMES),
    }


def _windows(payload: str) -> Iterator[tuple[str, Any]]:
    for name, dump in unpack(payload).items():
        yield name, inflated(binascii.a2b_base64(dump))


def outcome_log() -> Any:
    """Lines of the log of outcomes: a sample with everything in it, one with nothing, a roster; and what occurs."""
    everything = Sample(
        "g",
        DeploymentKey("a"),
        START,
        ok=False,
        tools_offered=True,
        outcome=Outcome.INVALID_JSON,
        lost=True,
        flaws=(Flaw.INVALID_JSON,),
        blame=Blame.PROVIDER,
        input_tokens=1,
        output_tokens=2,
        duration_s=3.5,
        first_token_s=0.25,
        streamed=True,
        routed=False,
        probe=True,
        caller="5f1c",
        complexity=3,
    )
    lines = [
        sample_line(everything),
        sample_line(Sample("g", DeploymentKey("a"), START)),
        members_line("g", {DeploymentKey("a"): 1e-6, DeploymentKey("b"): None}, START),
    ]
    kept: dict[str, list[Any]] = {}
    for line in story().outcomes.splitlines():
        kept.setdefault((entry := orjson.loads(line))["type"], []).append(entry)
    return {"lines": lines, "kept": {kind: shape(entries, NAMES) for kind, entries in kept.items()}}


SECTIONS = (tables, stored_json, shared_store, outcome_log)
