"""Connections to a file that another process creates at the same moment."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_another_process_creates_is_waited_for(tmp_path: Path) -> None:
    """SQLite itself does not wait where a file changes to WAL while another process writes its first tables."""
    file = tmp_path / "records.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE theirs (one)")
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        with closing(connect(location_of_url(f"sqlite:///{file}"), writing=True)) as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        release.join()
