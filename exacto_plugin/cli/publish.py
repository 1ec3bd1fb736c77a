"""``exacto publish``: accuracy by model and provider, as JSON and CSV."""

from __future__ import annotations

import csv
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.publication import COLUMNS, DAY_S, Public, publication
from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.cli.source import add_source_options, location_of, settings_of_config
from exacto_plugin.errors import ExactoError
from exacto_plugin.store.rows import reading
from exacto_plugin.text_tables import busy, write_tables

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

NAME = "exacto-accuracy"
"""The files' name, with .json and .csv."""


def add_publish(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("directory", metavar="DIRECTORY", help=f"{NAME}.json and {NAME}.csv are written there")
    add_source_options(parser, proxy=False)
    add_examples(parser, "exacto publish public/ --config config.yaml")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read the store and write both files.

    Raises:
        ExactoError: the configuration does not opt in, or there is no store.
    """
    if options.config is None:
        raise ExactoError("--config FILE is needed: what may be published is in its exacto_settings.publish")
    allowed = settings_of_config(Path(options.config)).publish
    if not allowed.models or not allowed.providers:
        raise ExactoError(
            "nothing may be published: exacto_settings.publish names no models, or no providers; add publish:"
            " {models: {MODEL GROUP: NAME}, providers: {PROVIDER: NAME}} there"
        )
    location = location_of(options)
    if location is None:
        raise ExactoError("no store given")
    public = Public(allowed.models, allowed.providers, time.time() - allowed.delay_days * DAY_S)
    with busy("reading the store ..."), reading(location) as connection:
        rows = [{**row, "week": _day(row["week"])} for row in publication(connection, public)]
    _write(Path(options.directory), rows)
    write_tables(f"{len(rows)} rows, of weeks that ended {allowed.delay_days:g} days ago or before")
    return 0


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _write(directory: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    ordered = [{name: row[name] for name in COLUMNS} for row in rows]
    (directory / f"{NAME}.json").write_text(f"{json.dumps(ordered, indent=1)}\n", encoding="utf-8")
    with (directory / f"{NAME}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(ordered)
