"""What processes tell each other: the texts, and the keys and fields of Redis."""

from __future__ import annotations

import asyncio
import base64
import math
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from exacto_plugin.core.model import (
    DeploymentKey,
    GroupSnapshot,
    Reason,
    ReasonCode,
    Reference,
    Signal,
    SignalValue,
    Snapshot,
    Tier,
    Verdict,
)
from exacto_plugin.core.pace import RecentPace
from exacto_plugin.core.routing.overrides import Override, OverrideAction
from exacto_plugin.core.windows.deltas import Delta
from exacto_plugin.sharing.codec import pack, pack_batch, pack_publication, pack_windows
from exacto_plugin.sharing.protocol import Batch, Publication
from tests.support.redis_server import RedisServer
from tests.support.served_proxy import GROUPS, ServedProxy, repeatable
from tests.wire.engine import START
from tests.wire.plain import shape
from tests.wire.story import NAMES

if TYPE_CHECKING:
    import redis

    from exacto_plugin.sharing.protocol import Remembered

KIMI = next(iter(GROUPS))
TALKS = {"at a deployment": b"0123456789abcdef", "begun by a probe": b"fedcba9876543210"}
_WAIT_S = 20.0


def opened(text: str | bytes) -> Any:
    """The JSON that a text stands for."""
    return orjson.loads(zlib.decompress(base64.b64decode(text)))


def payloads() -> Any:
    """Each kind of text, opened."""
    reason = Reason(ReasonCode.BELOW_THRESHOLD, Signal.TOOL_CALL_SUCCESS, 0.5, 0.9, 212, 20, 3600.0, 3)
    verdict = Verdict(
        DeploymentKey("a"),
        Tier.DERANKED,
        (reason,),
        {Signal.TOOL_CALL_SUCCESS: SignalValue(0.5, 212)},
        START,
        60.0,
        0.5,
        0.25,
        0.02,
        12.0,
        math.inf,
    )
    reference = Reference(Signal.TOOL_CALL_SUCCESS, 0.99, 0.01, 0.9, 4)
    pace = RecentPace((60.0, 50.0, 40.0, 30.0), None)
    group = GroupSnapshot(
        "g", {DeploymentKey("a"): verdict}, {reference.signal: reference}, START, True, {DeploymentKey("a"): pace}
    )
    remembered: Remembered = {"g": {"a": {"tier": "deranked", "since": START, "fingerprint": None}}}
    publication = Publication(Snapshot("mywppcdc-0a1b", START, {"g": group}), remembered, ("w", "x"))
    deltas = [
        Delta("g", DeploymentKey("a"), 30_000_000, {0: 2, 3: 1}, {512: 2}),
        Delta("g", DeploymentKey("b"), 30_000_001, {1: 1}, {}),
    ]
    word = Override(
        "g", DeploymentKey("a"), OverrideAction.DERANKED, "it answers nonsense", "5a17", START, START + 60.0
    )
    return {
        "batch": opened(pack_batch(Batch("w", 3, deltas))),
        "publication": opened(pack_publication(publication)),
        "windows": opened(pack_windows({"a": b"\1windows"})),
        "override": opened(pack(word.as_plain())),
    }


def redis_keys() -> Any:
    """Every key, its type, its fields and what is in them, after a worker served, led, published, saved and told."""
    with tempfile.TemporaryDirectory() as directory, RedisServer(Path(directory)) as server, repeatable():
        return asyncio.run(_served(server))


async def _served(server: RedisServer) -> Any:
    proxy = ServedProxy({"redis": {"url": server.url}, "tiers": {"recompute_interval_s": 0.2}})
    runtime = proxy.runtime
    proxy.answers(5, {}, 60.0)
    runtime.engine.watch(KIMI, proxy.now)
    ends = time.monotonic() + _WAIT_S
    while runtime.replication.status()["role"] != "leader":
        assert time.monotonic() < ends
        await asyncio.sleep(0.1)
        await proxy.turn()
    proxy.answers(5, {}, 60.0)
    runtime.engine.watch(KIMI, proxy.now)
    await proxy.say(OverrideAction.GOOD, "aster", 60.0, "vendor fixed it")
    talks = runtime.replication.conversations
    assert talks is not None
    for name, talk in TALKS.items():
        talks.enqueue(talk, "aster", probed=name == "begun by a probe")
    await talks.publish()
    await proxy.turn()
    proxy.answers(5, {}, 10.0)
    await proxy.turn()
    with server.client() as client:
        keys: Any = client.keys("*")
        found = dict(_told(client, key.decode()) for key in sorted(keys))
    await proxy.end()
    return found


def _told(client: redis.Redis, key: str) -> tuple[str, Any]:
    parts = key.split(":")
    name = key if len(parts) < 4 else ":".join([*parts[:3], "WORKER" if parts[2] == "held" else parts[3]])
    kind: Any = client.type(key)
    content: Any
    if kind == b"hash":
        found: Any = client.hgetall(key)
        content = {"fields": sorted(_field(field.decode()) for field in found)}
        texts = {_field(field.decode()): value for field, value in found.items()}
        content |= {"in": {field: shape(opened(text), NAMES) for field, text in texts.items() if len(text) > 40}}
    elif kind == b"zset":
        members: Any = client.zrange(key, 0, -1)
        content = {"members": shape([opened(one) if len(one) > 40 else one.decode() for one in members], NAMES)}
    else:
        text: Any = client.get(key)
        content = {"text": text.decode()} if len(text) < 40 else {"in": shape(opened(text), NAMES)}
    return name, {"type": kind.decode(), **content}


def _field(name: str) -> str:
    for one in NAMES:
        name = name.replace(one, "GROUP" if one in GROUPS else "DEPLOYMENT")
    return name


SECTIONS = (payloads, redis_keys)
