"""A lease that is held: it is renewed, waited for, and given back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import orjson
import pytest
from sqlalchemy import select

from exacto_plugin.bench.running import shared
from exacto_plugin.bench.running.shared import BenchmarkState
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading
from exacto_plugin.store.tables import documents, migrate

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.store.location import StoreLocation

SAFETY_S = 60.0


@pytest.fixture
def location(tmp_path: Path) -> StoreLocation:
    """A store with its tables."""
    found = location_of_url(f"sqlite:///{tmp_path}/exacto.db")
    with connect(found, writing=True) as connection, connection.begin():
        migrate(connection)
    return found


def ends(location: StoreLocation) -> float:
    """The end of the only lease."""
    with reading(location) as connection:
        payload = connection.execute(select(documents.c.payload)).scalar_one()
    return float(orjson.loads(payload)[1])


def test_it_is_renewed_and_given_back(location: StoreLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends later and later while it is held, also where a renewal fails."""
    monkeypatch.setattr(shared, "LEASE_S", 2.0)
    renewed, leases = threading.Event(), BenchmarkState.lease
    calls = []

    def lease(self: BenchmarkState, model: str, benchmark: str) -> bool:
        calls.append(model)
        if len(calls) == 2:
            raise OSError
        found = leases(self, model, benchmark)
        if len(calls) > 2:
            renewed.set()
        return found

    monkeypatch.setattr(BenchmarkState, "lease", lease)
    with BenchmarkState(location).held("a", "verifier", 0.0) as own:
        assert own
        before = ends(location)
        assert renewed.wait(SAFETY_S)
        assert ends(location) > before
    monkeypatch.undo()
    assert BenchmarkState(location).lease("a", "verifier")


def test_the_end_of_another_is_waited_for(location: StoreLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the patience lasts."""
    other, own_state = BenchmarkState(location), BenchmarkState(location)
    assert other.lease("a", "verifier")
    with own_state.held("a", "verifier", 0.0) as own:
        assert not own
    monkeypatch.setattr(time, "sleep", lambda _: other.release("a", "verifier"))
    with own_state.held("a", "verifier", SAFETY_S) as own:
        assert own
