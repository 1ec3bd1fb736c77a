"""The store and the month's budget, as the verbs of ``exacto bench`` use them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from exacto_plugin.cli.source import settings_of_config
from exacto_plugin.store.database import DownError, connect, problem_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from exacto_plugin.store.location import StoreLocation


@contextmanager
def writing(location: StoreLocation) -> Iterator[Connection]:
    """Open the store in a transaction; a new one gets its tables.

    Raises:
        DownError: it cannot be opened or written.
    """
    try:
        with connect(location, writing=True) as connection, connection.begin():
            yield connection
    except (SQLAlchemyError, OSError) as error:
        raise DownError(problem_of(error, location)) from None


def monthly_usd(options: argparse.Namespace) -> float | None:
    """Return the USD of a month: ``--monthly-usd``, or of the settings.

    None: no limit.

    Raises:
        SettingsError: the configuration cannot be used.
    """
    if options.monthly_usd is not None or options.config is None:
        return None if options.monthly_usd is None else float(options.monthly_usd)
    return settings_of_config(Path(options.config)).benchmarks.monthly_usd
