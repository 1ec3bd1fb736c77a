"""Stored data of other versions: a process reads what it can, and ignores or refuses the rest."""

from __future__ import annotations

import json
import zlib
from binascii import a2b_base64
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from exacto_plugin.core.model import DeploymentKey, GroupSnapshot, Snapshot, Tier, Verdict
from exacto_plugin.core.windows.counter_ring import MOST
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.codec import pack, pack_windows, unpack, unpack_batch, unpack_publication
from exacto_plugin.sharing.protocol import Batch, Claim, ExchangeError, State, UnreadableError
from exacto_plugin.sharing.stored_parts import decode_batches, decode_state, decode_windows
from exacto_plugin.store import tables
from exacto_plugin.store.exchange import StoreExchange
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WINDOWS = {"a": b"1"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of one process."""
    made = Store(location_of_url(f"sqlite:///{tmp_path / 'r.sqlite'}"))
    yield made
    made.close()


def test_windows_that_cannot_be_read_are_left_out() -> None:
    """So are those that went in between; all others stay."""
    found = [("g", pack_windows(WINDOWS)), ("gone", None), ("newer", pack(["x"])), ("broken", "x")]
    assert decode_windows(found) == [("g", WINDOWS)]


@pytest.mark.parametrize("count", [-1, 1.5, None, "7", MOST + 1, 2**64 - 1])
async def test_batches_of_what_cannot_have_happened_are_left_out(count: object) -> None:
    """A leader counts all others, where an error would have it read the same batch again and again."""
    good = {"worker": "w", "sequence": 1, "names": ["g", "a"], "rows": [[0, 1, 7, [3, MOST], [700, 2]]]}
    found = [good, *({**good, "rows": [[0, 1, 7, *bad]]} for bad in ([[3, count], []], [[], [700, count]]))]
    read = await decode_batches([(place, pack(batch)) for place, batch in enumerate(found)], 0)
    assert (read.position, read.batches) == (
        3,
        [Batch("w", 1, [Delta("g", DeploymentKey("a"), 7, {3: MOST}, {700: 2})])],
    )


@pytest.mark.parametrize("plain", [None, [], {}, {"position": "x", "read": {}, "remembered": {}}])
def test_a_state_of_another_kind_is_one_that_cannot_be_read(plain: Any) -> None:
    """Which tells a leader to begin with nothing, where any other error would have it wait."""
    with pytest.raises(UnreadableError):
        decode_state(plain, [])


async def test_a_store_is_read_as_far_as_it_can_be(store: Store) -> None:
    """One model group, and then all of the state, are what only a newer version can read."""
    exchange = StoreExchange(store, 0.05)
    lease = await exchange.claim(Claim("w", is_prepared=True))
    assert lease is not None
    await exchange.save(lease, State(7, {}, {}, [("g", WINDOWS), ("h", WINDOWS)]))
    other = update(tables.windows).where(tables.windows.c.model_group == "h").values(payload=pack(["newer"]))
    await store.work(lambda connection: connection.execute(other))
    state = await exchange.load()
    assert state is not None
    assert (state.position, list(state.windows)) == (7, [("g", WINDOWS)])
    await store.work(lambda connection: connection.execute(update(tables.documents).values(payload=pack(["newer"]))))
    with pytest.raises(UnreadableError):
        await exchange.load()


def test_an_older_version_understands_what_a_newer_one_sends() -> None:
    """Further fields, counters, cells and row entries are ignored; what is needed is there."""
    newer = {
        "worker": "w", "sequence": 4, "names": ["g", "a"], "colour": "blue",
        "rows": [[0, 1, 30_000_000, [0, 2, 99, 5], [512, 2, 999_999, 1], "more"]],
    }  # fmt: skip
    found = unpack_batch(pack(newer))
    assert (found.worker, found.sequence) == ("w", 4)
    counts, cells = found.deltas[0].known()
    assert (counts, cells) == ({0: 2}, {512: 2})


def test_a_newer_version_understands_what_an_older_one_publishes() -> None:
    """A publication with unknown fields beside the known ones, and without those that have defaults."""
    verdict = {"deployment": "a", "tier": "deranked", "mood": 3}
    plain = {
        "snapshot": {"id": "s", "at": 1.5, "groups": {"g": {"model_group": "g", "verdicts": {"a": verdict}}}},
        "remembered": {"g": {"a": {"tier": "deranked", "unheard": 1}}},
        "season": "winter",
    }
    found = unpack_publication(pack(plain))
    assert found.snapshot == Snapshot(
        "s", 1.5, {"g": GroupSnapshot("g", {DeploymentKey("a"): Verdict(DeploymentKey("a"), Tier.DERANKED)})}
    )
    assert found.workers == ()


@pytest.mark.parametrize("text", ["", "x", "AAAA", pack([1]), pack({"snapshot": 1}), pack({"worker": "w"}), pack(None)])
def test_what_cannot_be_read_is_an_error_of_the_exchange(text: str) -> None:
    """Whatever lies there, a replica only ever meets one kind of error."""
    for read in (unpack_batch, unpack_publication):
        with pytest.raises(ExchangeError):
            read(text)


def test_payloads_are_plain_json() -> None:
    """What is packed can be read by anything that reads zlib and JSON."""
    assert json.loads(zlib.decompress(a2b_base64(pack({"a": [1, 2]})))) == {"a": [1, 2]} == unpack(pack({"a": [1, 2]}))
