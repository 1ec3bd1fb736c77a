"""The store: what is written can be read, whatever the database, and nothing that it does comes back at a caller."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text, update

from exacto_plugin.errors import SettingsError, StoreError
from exacto_plugin.records import (
    BenchmarkRecord,
    DecisionRecord,
    DeploymentRecord,
    HourRecord,
    InputsRecord,
    ObservedRecord,
    OverrideRecord,
    Record,
    RecordKind,
    ReferenceRecord,
    RuleRecord,
    SettingsRecord,
    TransitionRecord,
    VerifierRecord,
)
from exacto_plugin.store import store as store_module
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import StoreLocation, default_location, location_of_url, memory_location
from exacto_plugin.store.pruning import ROWS, Pruning
from exacto_plugin.store.rows import find, insert_all, reading
from exacto_plugin.store.store import CAPACITY, Store
from exacto_plugin.store.tables import KEPT, READABLE_FROM, VERSION, NewerSchemaError, meta, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

NOW = 1_800_000_000.125
DEADLINE_S = 20.0

DECISION = DecisionRecord(
    id="d1", call_id="c1", at=NOW, model_group="g", policy="auto", reason="tiers", kind="sampled", applied=True,
    suffixes=["exacto"], candidates=[{"deployment": "a", "rank": 0}], attempts=[], refusals=[], rescue_cost=None,
    snapshot="s1", trace_id="", span_id="",
)  # fmt: skip
TRANSITION = TransitionRecord(NOW, "g", "a", "insufficient_data", "deranked", [{"value": 0.1 + 0.2, "code": "x"}], "s1")


def benchmark_run(at: float) -> BenchmarkRecord:
    """A run of one task."""
    tasks = {"0123456789abcdef": [1 / 3, 3]}
    return BenchmarkRecord(
        at, "g", "a", "tau2", 0.7, 45, "run1", "h", "c", tasks, None, 3, 0, 7, None, paired=True, refused=""
    )


RECORDS: tuple[Record, ...] = (
    RuleRecord("r1", NOW, {"peer_cap": 0.05, "nested": {"a": [1, None]}}, "0.1"),
    InputsRecord("s1", NOW, "g", "change", "r1", "0.1", b"\x00\xff bytes"),
    ReferenceRecord("s1", NOW, "g", "throughput", 1 / 3, None, 5e-324, 4, "r1", "0.1"),
    DeploymentRecord("s1", NOW, "g", "a", "novita", "deranked", NOW - 1, [{"code": "x"}], {"tps": [1.5, 3]}, "change"),
    TRANSITION,
    DECISION,
    OverrideRecord(NOW, "g", "ä 😀", "deranked", "said so", "5f1c", NOW + 7200),
    SettingsRecord(NOW, "w1", "change", "0123456789abcdef", {"mode": ["apply", "observe"]}),
    ObservedRecord(NOW, "g", "a", "w1", {"token_burn": 1.31}),
    benchmark_run(NOW),
    VerifierRecord(NOW, NOW - 60, "g", "a", "r", "s", 4, 1, 3, 1, {"invalid_json": 1}, "110-1", 7, 9, 1 / 3, ""),
)
"""One of every kind but hours, with numbers that need all their bits."""


@pytest.fixture
def counted() -> Counter[tuple[RecordKind, str | None]]:
    """What the store told about records, by kind and error."""
    return Counter()


@pytest.fixture
def store(place: StoreLocation, counted: Counter[tuple[RecordKind, str | None]]) -> Iterator[Store]:
    """A store in each kind of place."""
    made = Store(place, lambda kind, number, error: counted.update({(kind, error): number}), _raise)
    yield made
    made.close()


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[Store]:
    """A store in a SQLite file."""
    made = Store(location_of_url(f"sqlite:///{tmp_path / 'r.sqlite'}"), report=_raise)
    yield made
    made.close()


FAULTS: list[Exception] = []


def _raise(error: Exception) -> None:
    FAULTS.append(error)


@pytest.fixture(autouse=True)
def _no_faults_of_ours() -> Iterator[None]:
    """Nothing unforeseen happened in the store's threads."""
    FAULTS.clear()
    yield
    assert FAULTS == []


async def until(condition: Any) -> None:
    """Wait for something that a thread does."""
    ends = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


async def every(store: Store, kind: type[Any]) -> list[Any]:
    """All records of a kind."""
    return await store.read(lambda connection: find(connection, kind))


async def test_every_record_comes_back_equal(store: Store, counted: Counter[tuple[RecordKind, str | None]]) -> None:
    """Floats to the last bit, bytes, nested data and any text; each counted once under its kind."""
    assert {type(record) for record in RECORDS} == set(KEPT) - {HourRecord}
    for record in RECORDS:
        store.write(record)
    assert store.flush(DEADLINE_S)
    for record in RECORDS:
        assert await every(store, type(record)) == [record]
    kinds = Counter((KEPT[type(record)].kind, None) for record in RECORDS)
    await until(lambda: counted == kinds)
    assert store.health.state == ("ok" if store.location is not None and store.location.is_persistent else "memory")
    await until(lambda: store.health.written == len(RECORDS))
    assert store.health.dropped == 0


async def test_a_later_record_of_the_same_key_replaces_the_earlier(store: Store) -> None:
    """Within one batch and across batches: decisions by id, rules by digest, hours by hour, deployment and worker."""
    for picks in (1.0, 2.0):
        store.write(HourRecord(NOW, "g", "a", "w1", {"picks": picks}))
        store.write(HourRecord(NOW, "g", "a", "w2", {"picks": picks}))
    assert store.flush(DEADLINE_S)
    store.write(HourRecord(NOW, "g", "a", "w1", {"picks": 5.0}))
    assert store.flush(DEADLINE_S)
    hours = await store.read(lambda connection: find(connection, HourRecord))
    assert {(hour.worker, hour.numbers["picks"]) for hour in hours} == {("w1", 5.0), ("w2", 2.0)}


async def test_records_are_found_by_conditions_in_order(store: Store) -> None:
    """Time order both ways, conditions on columns, and a limit."""
    for number in range(5):
        store.write(TransitionRecord(NOW - number, "g", f"d{number % 2}", "deranked", "verified_good", [], "s"))
    assert store.flush(DEADLINE_S)
    columns = table_of(TransitionRecord).c

    def ask(connection: Connection) -> list[float]:
        found = find(connection, TransitionRecord, columns.deployment == "d0", newest_first=True, limit=2)
        return [NOW - record.at for record in found]

    assert await store.read(ask) == [0.0, 2.0]
    everything = await store.read(lambda connection: find(connection, TransitionRecord))
    assert [NOW - record.at for record in everything] == [4.0, 3.0, 2.0, 1.0, 0.0]


async def test_what_the_database_refuses_costs_only_itself(
    store: Store, counted: Counter[tuple[RecordKind, str | None]]
) -> None:
    """A record that cannot be written is dropped and counted; those around it are kept."""
    bad = TransitionRecord(NOW, "g", "a", "x", "y", [{"of": object()}], "s")
    for record in (TRANSITION, bad, DECISION):
        store.write(record)
    await until(lambda: (store.health.dropped, store.health.written) == (1, 2))
    assert await store.read(lambda connection: find(connection, TransitionRecord)) == [TRANSITION]
    await until(lambda: counted[RecordKind.TRANSITIONS, "_OTHER"] == 1)
    assert store.health.state in ("ok", "memory")


async def test_writing_never_waits_and_a_full_queue_drops(file_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database stands still, callers go on at once; what does not fit is counted, the rest is written."""
    free = threading.Event()
    task = asyncio.create_task(file_store.work(lambda _: free.wait(DEADLINE_S), DEADLINE_S))
    await until(lambda: file_store._writer._begun_at is not None)
    for _ in range(CAPACITY + 10):
        file_store.write(TRANSITION)
    assert (file_store.health.waiting, file_store.health.dropped) == (CAPACITY, 10)
    free.set()
    await task
    await until(lambda: file_store.health.written == CAPACITY)
    assert file_store.health.dropped == 10


async def test_a_question_to_a_database_that_stands_still_is_bounded(file_store: Store) -> None:
    """Who asks is told in time, who asks later at once, and when it goes on the store does too."""
    free = threading.Event()
    with pytest.raises(StoreError, match="does not answer"):
        await file_store.work(lambda _: free.wait(DEADLINE_S), 0.05)
    with pytest.raises(StoreError, match="does not answer"):
        await file_store.work(lambda _: 1, 0.05)
    free.set()
    await until(lambda: file_store._writer._begun_at is None)
    assert await file_store.work(lambda _: 1) == 1


async def test_jobs_are_transactions(store: Store) -> None:
    """What a job wrote before it failed is not there; its own error comes back to whoever asked."""
    table = table_of(TransitionRecord)

    def broken(connection: Connection) -> None:
        connection.execute(table.delete())
        raise KeyError("mine")

    store.write(TRANSITION)
    assert store.flush(DEADLINE_S)
    with pytest.raises(KeyError, match="mine"):
        await store.work(broken)
    assert await store.read(lambda connection: find(connection, TransitionRecord)) == [TRANSITION]


async def test_without_a_place_nothing_is_kept() -> None:
    """In programs that named no store: writing is nothing, asking an error that says what to set."""
    store = Store(None)
    store.write(TRANSITION)
    store.open()
    assert store.health.state == "off"
    assert store.health.waiting == 0
    with pytest.raises(StoreError, match=r"store\.url"):
        await store.read(lambda _: None)
    store.close()


async def test_reading_before_the_first_write(tmp_path: Path) -> None:
    """That nothing is on record yet is no fault of the store; after the first write it is read."""
    store = Store(location_of_url(f"sqlite:///{tmp_path}/records.sqlite"))
    with pytest.raises(StoreError, match="nothing is on record yet") as told:
        await store.read(lambda connection: find(connection, TransitionRecord))
    assert type(told.value) is StoreError
    store.open()
    await store.work(lambda _: None)
    assert await store.read(lambda connection: find(connection, TransitionRecord)) == []
    store.close()


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    """A graceful stop loses nothing."""
    place = location_of_url(f"sqlite:///{tmp_path / 'r.sqlite'}")
    store = Store(place)
    for _ in range(2000):
        store.write(TRANSITION)
    store.close(DEADLINE_S)
    with reading(place) as connection:
        assert len(find(connection, TransitionRecord)) == 2000


async def test_several_processes_can_share_one(lasting_place: StoreLocation) -> None:
    """Three stores in one place: all make the tables at once, all write."""
    stores = [Store(lasting_place, report=_raise) for _ in range(3)]
    for store in stores:
        store.open()
    for number in range(900):
        stores[number % 3].write(TRANSITION)
    assert all(store.flush(DEADLINE_S) for store in stores)
    await until(lambda: sum(store.health.written for store in stores) == 900)
    assert len(await stores[0].read(lambda connection: find(connection, TransitionRecord))) == 900
    for store in stores:
        store.close()


# --- what can be wrong with a place ----------------------------------------------------------------------------------


async def _degraded(store: Store, caplog: pytest.LogCaptureFixture, *words: str) -> None:
    store.write(TRANSITION)
    await until(lambda: store.health.state == "degraded")
    told = f"{store.health.message}; {store.health.remedy}"
    assert all(word in told for word in words), told
    store.write(TRANSITION)
    with pytest.raises(StoreError):
        await store.work(lambda _: None)

    def lines() -> list[str]:
        return [record.message for record in caplog.records if record.name == "exacto_plugin"]

    await until(lines)
    assert lines() == [f"exacto_plugin's store: {told}"]


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again soon."""
    monkeypatch.setattr(store_module, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(store_module, "_LONGEST_PAUSE_S", 0.1)


@pytest.mark.usefixtures("_impatient")
async def test_a_file_that_is_no_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line names file and remedy; once it was moved away the waiting records are written to a new one."""
    file = tmp_path / "r.sqlite"
    file.write_bytes(b"this is no database" * 1000)
    store = Store(location_of_url(f"sqlite:///{file}"), report=_raise)
    await _degraded(store, caplog, str(file), "damaged", "move it away")
    file.rename(tmp_path / "away")
    await until(lambda: (store.health.written, store.health.state) == (2, "ok"))
    store.close()


@pytest.mark.usefixtures("_impatient")
async def test_a_file_that_is_damaged_while_it_is_used(file_store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Pages that were overwritten: the same."""
    assert file_store.location is not None
    assert file_store.location.file is not None
    for _ in range(3000):
        file_store.write(TRANSITION)
    assert file_store.flush(DEADLINE_S)
    raw = sqlite3.connect(file_store.location.file)
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    with file_store.location.file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xa5" * 400_000)
    file_store._writing.close()
    await _degraded(file_store, caplog, str(file_store.location.file), "damaged")


@pytest.mark.usefixtures("_impatient")
async def test_tables_of_a_newer_version(file_store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Tables that this version cannot work with are left alone; those it still can work with are used."""
    assert file_store.location is not None
    connection = connect(file_store.location, writing=True)
    with connection.begin():
        for name, value in (("schema", VERSION + 7), ("readable_from", VERSION)):
            connection.execute(update(meta).where(meta.c.name == name).values(value=str(value)))
    file_store.write(TRANSITION)
    await until(lambda: file_store.health.written == 1)
    with connection.begin():
        connection.execute(update(meta).where(meta.c.name == "readable_from").values(value=str(VERSION + 1)))
    with pytest.raises(StoreError, match="newer version"), reading(file_store.location):
        pass
    with pytest.raises(NewerSchemaError):
        connect(file_store.location, writing=False)
    beginning = Store(file_store.location)
    with pytest.raises(StoreError, match="newer version"):
        await beginning.read(lambda found: find(found, TransitionRecord))
    beginning.close()
    file_store._writing.close()
    await _degraded(file_store, caplog, "newer version", "upgrade")
    with connection.begin():
        connection.execute(update(meta).where(meta.c.name == "readable_from").values(value=str(READABLE_FROM)))
    connection.close()
    await until(lambda: file_store.health.written == 3)


@pytest.mark.usefixtures("_impatient")
async def test_a_directory_that_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A place that cannot be written to, because a file is where a directory should be."""
    (tmp_path / "file").touch()
    store = Store(location_of_url(f"sqlite:///{tmp_path / 'file' / 'r.sqlite'}"), report=_raise)
    await _degraded(store, caplog, "is not writable", "give the user of this process")
    (tmp_path / "file").unlink()
    await until(lambda: store.health.written == 2)
    store.close()


@pytest.mark.usefixtures("_impatient")
async def test_another_process_that_holds_the_file(
    file_store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's transaction that does not end is waited for a while, and told."""
    monkeypatch.setattr("exacto_plugin.store.database._BUSY_MS", 50)
    assert file_store.location is not None
    other = connect(file_store.location, writing=True)
    with other.begin():
        await _degraded(file_store, caplog, "locked by another process")
    await until(lambda: file_store.health.written == 2)
    other.close()


@pytest.mark.usefixtures("_impatient")
async def test_a_server_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """A PostgreSQL that refuses connections; the password of the URL is in no message."""
    store = Store(location_of_url("postgresql://me:s3cret@127.0.0.1:9/db"), report=_raise)
    await _degraded(store, caplog, "127.0.0.1:9", "does not answer")
    assert "s3cret" not in f"{store.health} {caplog.text}"
    store.close()


@pytest.mark.usefixtures("_impatient")
async def test_a_file_that_is_taken_away_is_begun_anew(file_store: Store) -> None:
    """Records are not written into a file that nobody finds any more."""
    assert file_store.location is not None
    assert file_store.location.file is not None
    file_store.write(TRANSITION)
    assert file_store.flush(DEADLINE_S)
    for name in ("r.sqlite", "r.sqlite-wal", "r.sqlite-shm"):
        file_store.location.file.with_name(name).rename(file_store.location.file.with_name(f"old-{name}"))
    file_store.write(DECISION)
    assert file_store.flush(DEADLINE_S)
    with reading(file_store.location) as connection:
        assert find(connection, DecisionRecord) == [DECISION]
        assert find(connection, TransitionRecord) == []


# --- pruning ---------------------------------------------------------------------------------------------------------


async def test_pruning_keeps_each_kind_for_its_time(store: Store) -> None:
    """In small steps, until only what is young enough is left; benchmark scores stay longer."""
    for age in range(0, 100, 10):
        at = NOW - age * 86_400.0
        for _ in range(300):
            store.write(TransitionRecord(at, "g", "a", "x", "y", [], "s"))
        store.write(benchmark_run(at))
        store.write(HourRecord(at, "g", "a", "w", {"picks": 0.0}))
    assert store.flush(DEADLINE_S)
    days = {RecordKind.TRANSITIONS: 35.0, RecordKind.BENCHMARK_SCORES: 90.0, RecordKind.HOURS: 5.0}
    pruning = Pruning(lambda kind: days.get(kind, 30.0), lambda: NOW)
    steps = 0
    while await store.work(pruning.step) < 1.0:
        steps += 1
    assert steps >= len(KEPT)
    ages = {
        kind: [round((NOW - record.at) / 86_400) for record in await every(store, kind)]
        for kind in (TransitionRecord, BenchmarkRecord, HourRecord)
    }
    assert ages == {
        TransitionRecord: [age for age in (30, 20, 10, 0) for _ in range(300)],
        BenchmarkRecord: [90, 80, 70, 60, 50, 40, 30, 20, 10, 0],
        HourRecord: [0],
    }
    assert ROWS >= 300


async def test_the_file_shrinks_when_records_go(file_store: Store) -> None:
    """What is deleted is given back to the disk."""
    assert file_store.location is not None
    assert file_store.location.file is not None
    for _ in range(5000):
        file_store.write(TransitionRecord(NOW, "g" * 200, "a", "x", "y", [], "s"))
    assert file_store.flush(DEADLINE_S)

    def pages(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())

    full = await file_store.read(pages)
    pruning = Pruning(lambda _: 1.0, lambda: NOW + 86_400.0 * 30)
    for _ in range(40):
        await file_store.work(pruning.step)
    assert await file_store.read(pages) < full / 2


async def test_chores_are_called_again_and_outlive_their_faults(file_store: Store) -> None:
    """By the store's thread, when they said; one that fails is reported and does not stop the store."""
    called: list[int] = []

    def chore(_: Connection) -> float:
        called.append(1)
        return 0.0

    def broken(_: Connection) -> float:
        raise KeyError("mine")

    file_store.add_periodic_job(chore)
    file_store.write(TRANSITION)
    await until(lambda: len(called) >= 2)
    file_store.add_periodic_job(broken)
    await until(lambda: FAULTS)
    assert [type(error) for error in FAULTS] == [KeyError]
    FAULTS.clear()
    file_store.write(TRANSITION)
    await until(lambda: file_store.health.written == 2)


# --- where it is -----------------------------------------------------------------------------------------------------


def test_the_default_place_is_one_for_each_configuration(tmp_path: Path) -> None:
    """In the first directory that can be written to; the same file again for the same configuration."""
    state, home = tmp_path / "state", tmp_path / "home"
    environment = {"XDG_STATE_HOME": str(state), "HOME": str(home)}
    one, other = (
        default_location("/etc/a/config.yaml", environment),
        default_location("/etc/b/config.yaml", environment),
    )
    assert one.file is not None
    assert other.file is not None
    assert one.file.parent == state / "exacto_plugin"
    assert one.file != other.file
    assert one == default_location("/etc/a/config.yaml", environment)
    assert one == default_location("/etc/b/../a/./config.yaml", environment)
    assert one.file.name.startswith("config-")
    state.rename(tmp_path / "gone")
    state.touch()  # no directory any more
    assert str(default_location("c.yaml", environment).file).startswith(str(home / ".local/state/exacto_plugin"))
    assert not list(home.rglob(".*-*"))


def test_memory_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory: memory, which two stores of a process do not share."""
    monkeypatch.setattr("exacto_plugin.store.location._directories", lambda _: [])
    place = default_location("c.yaml", {})
    assert not place.is_persistent
    assert place.file is None
    assert memory_location().url != place.url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "got no URL"),
        ("mysql://root@localhost/db", "got another kind of address, expected sqlite"),
        ("postgresql+asyncpg://me@localhost/db", "got another kind of address, expected sqlite"),
    ],
)
def test_other_urls_are_refused(url: str, said: str) -> None:
    """With what was expected, and without a password."""
    with pytest.raises(SettingsError, match=rf"store\.url: {said}"):
        location_of_url(url)


def test_reading_where_nothing_is(tmp_path: Path) -> None:
    """Commands say that there is no store, and make none."""
    place = location_of_url(f"sqlite:///{tmp_path / 'none.sqlite'}")
    with pytest.raises(StoreError, match="there is no store"), reading(place):
        pass
    assert not list(tmp_path.iterdir())
    made = sqlite3.connect(tmp_path / "none.sqlite")
    made.execute("CREATE TABLE t (a)")
    made.close()
    with pytest.raises(StoreError, match="no records of exacto_plugin"), reading(place):
        pass


def test_tables_of_version_2(tmp_path: Path) -> None:
    """They are read as they are, with nothing in the column that they lack; the first to write adds it."""
    place = location_of_url(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with connect(place, writing=True) as connection, connection.begin():
        insert_all(connection, [TRANSITION])
        connection.execute(text("ALTER TABLE transitions DROP COLUMN changed"))
        connection.execute(update(meta).where(meta.c.name == "schema").values(value="2"))
    with reading(place) as connection:
        assert find(connection, TransitionRecord) == [TRANSITION]
    changed = replace(TRANSITION, at=TRANSITION.at + 1.0, changed={"at": 1.0})
    with connect(place, writing=True) as connection, connection.begin():
        insert_all(connection, [changed])
    with reading(place) as connection:
        assert find(connection, TransitionRecord) == [TRANSITION, changed]
        assert connection.execute(select(meta.c.value).where(meta.c.name == "schema")).scalar() == str(VERSION)
