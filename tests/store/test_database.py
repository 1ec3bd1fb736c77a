"""Connections to a file that is not there yet, or that another process creates just now."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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


def test_a_new_directory_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mistyped one begins a new record, so the log has its path; a new file beside others is usual."""
    for _ in range(2):
        connect(location_of_url(f"sqlite:///{tmp_path}/mistyped/records.sqlite"), writing=True).close()
    connect(location_of_url(f"sqlite:///{tmp_path}/records.sqlite"), writing=True).close()
    (told,) = [record.getMessage() for record in caplog.records if record.name == "exacto_plugin"]
    assert f"a new file is begun at {tmp_path}/mistyped/records.sqlite" in told
