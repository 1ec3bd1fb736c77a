"""Databases for the tests of the store: SQLite files, and databases of the one PostgreSQL server of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exacto_plugin.store.location import StoreLocation, location_of_url

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgresql_server import Cluster


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StoreLocation:
    """An empty place of each kind."""
    return location_of_url("sqlite://") if request.param == "memory" else _lasting(request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def lasting_place(request: pytest.FixtureRequest, tmp_path: Path) -> StoreLocation:
    """An empty place of each kind that processes can share."""
    return _lasting(request, tmp_path)


def _lasting(request: pytest.FixtureRequest, tmp_path: Path) -> StoreLocation:
    if request.param == "sqlite":
        return location_of_url(f"sqlite:///{tmp_path / 'records.sqlite'}")
    running: Cluster = request.getfixturevalue("postgresql")
    return location_of_url(running.fresh())
