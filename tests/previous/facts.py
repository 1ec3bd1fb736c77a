"""What today's code reads from earlier data, as plain data that can be compared."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.audit import queries, views
from exacto_plugin.cli import command
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.tiers.replay import preset_of_plain
from exacto_plugin.sharing.intervals import PUSH_S
from exacto_plugin.sharing.redis.conversations import SharedConversations
from exacto_plugin.sharing.redis.exchange import RedisExchange
from exacto_plugin.sharing.redis.overrides import RedisOverrides
from exacto_plugin.sharing.redis.source import connection_to
from exacto_plugin.store.database import connect
from exacto_plugin.store.exchange import StoreExchange
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.store import Store
from tests.support.served_proxy import GROUPS, START

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from exacto_plugin.core.model import Snapshot
    from exacto_plugin.sharing.protocol import Exchange

HOUR_S = 3600.0
_KINDS = ("transition", "override", "settings", "decision")
TIMES = tuple(START + HOUR_S * hours for hours in (1.0, 1.5, 3.0, 4.5, 5.5))
"""When the store is asked about."""
_ONE_VERIFIES = {"verify_peers": 1}
"""What the published rule was before this number was added."""
EARLIER: dict[str, Any] = {"bad_call_price": 0, "max_cost_premium": None, "convicting_floor": 1, "common_cause": 0}
EARLIER |= {"burst_faults": 2, "chance_power": 1.0, "cover": 0.8, "quiet_ttl_s": 259200.0, "suspect_chance": 0.0}
EARLIER |= {"trial_share": 0.0, "convicting_tail": 1, "convicting_z": 0, "refusal_hold_s": 0, "refusal_spread": 2}
"""What the default rule was before these numbers were added."""
_ADDED_STATE = (
    "by_price",
    *(f"common_{name}" for name in ("begin", "end", "rise", "deployments")),
    *("limit", "refused_at", "refused_share", "suspended"),
)
"""What the default rule remembers since; empty where a state is of an earlier revision."""
PUBLISHED = {
    "preset": "openrouter",
    "openrouter": {"tool_call_requests": 50, "throughput_requests": 20, **_ONE_VERIFIES},
}
"""The settings under ``tiers`` that the store's last hour was judged by."""
TALKS = {"at a deployment": b"0123456789abcdef", "begun by a probe": b"fedcba9876543210"}
_ADDED = ("takes_s", "kept_s", "usual_share")
_WHY = (
    "tier",
    "since",
    "provider",
    "measured_at",
    "snapshot",
    "reasons",
    "references",
    "preset",
    "override",
    "way_back",
)


def arithmetic() -> str:
    """Changes with the last digits of functions that processors and versions of numpy compute differently."""
    numbers = np.linspace(0.001, 40.0, 4001)
    functions = (np.log, np.exp, np.log1p, np.expm1, np.sqrt, np.log10)
    parts = [function(numbers).tobytes() for function in functions] + [(numbers**0.37).tobytes()]
    return hashlib.blake2b(b"".join(parts), digest_size=8).hexdigest()


# --- the store --------------------------------------------------------------------------------------------------------


def of_store(file: Path) -> Any:
    """Records, and what verification, ``exacto why`` and a restart make of them."""
    url = f"sqlite:///{file}"
    with connect(location_of_url(url), writing=False) as connection, connection.begin():
        found = {
            "verified": asdict(queries.verify(connection)),
            "tiers": {str(at): _tiers(connection, at) for at in TIMES},
            "why": {
                str(at): [_why(connection, name, at) for names in GROUPS.values() for name in names] for at in TIMES
            },
            "audit": {kind: views.audit(connection, kinds=[kind], limit=10_000) for kind in _KINDS},
            "hours": [
                [one.at, one.model_group, one.deployment, dict(one.numbers)]
                for one in queries.hours(connection, 0.0, 1e12)
            ],
        }
    found["command"] = _command("why", "cedar", "--at", "2025-06-15T17:30:00+00:00", "--store", url)
    found["shared"] = asyncio.run(_shared_store(url))
    return found


def _tiers(connection: Connection, at: float) -> Any:
    keys = ("deployment", "tier", "since", "signals", "observed")
    return {
        group["model_group"]: [{key: one[key] for key in keys} for one in group["deployments"]]
        for group in views.tiers(connection, at)
    }


def _why(connection: Connection, deployment: str, at: float) -> Any:
    found = views.why(connection, deployment, at, past=True)
    return [_known_then(one) for one in found]


def _command(*arguments: str) -> Any:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        command.main([*arguments, "--json"])
    (answer,) = json.loads(out.getvalue())["answers"]
    return _known_then(answer)


def _known_then(answer: Mapping[str, Any]) -> Any:
    """Return what the earlier revision told: not yet how long a way back takes."""
    back = [{key: value for key, value in one.items() if key not in _ADDED} for one in answer["way_back"]]
    return {key: answer[key] for key in _WHY} | {"way_back": back}


async def _shared_store(url: str) -> Any:
    store = Store(location_of_url(url))
    try:
        return await _shared(StoreExchange(store, PUSH_S))
    finally:
        store.close()


# --- what is shared ---------------------------------------------------------------------------------------------------


async def _shared(exchange: Exchange) -> Any:
    """The published result, the saved state and the batches that came after it."""
    publication, state = await exchange.latest(), await exchange.load()
    assert publication is not None
    assert state is not None
    windows = {group: sorted(dumps) for group, dumps in state.windows}
    pulled = await exchange.pull(state.position)
    return {
        "published": [publication.snapshot.id, publication.snapshot.at, _verdicts(publication.snapshot)],
        "remembered": publication.remembered,
        "workers": list(publication.workers),
        "saved": [dict(state.read), state.remembered, windows],
        "batches": [
            [batch.worker, batch.sequence, len(batch.deltas), sum(delta.samples for delta in batch.deltas)]
            for batch in pulled.batches
        ],
    }


def _verdicts(snapshot: Snapshot) -> Any:
    return {
        name: {key: [verdict.tier.value, verdict.since, _calls(verdict)] for key, verdict in group.verdicts.items()}
        for name, group in snapshot.groups.items()
    }


def _calls(verdict: Any) -> Any:
    return [[reason.code.value, reason.value, reason.threshold, reason.samples] for reason in verdict.reasons]


async def of_redis(url: str, now: float) -> Any:
    """What lies in Redis, before anybody writes there."""
    link = connection_to(url, "exacto")
    talks = SharedConversations(link, lambda: 600.0, _fail)
    serving = asyncio.create_task(talks.run())
    await asyncio.sleep(0)
    await talks.publish()
    try:
        return {
            **await _shared(RedisExchange(link, PUSH_S)),
            "overrides": [word.as_plain() for word in await RedisOverrides(link, lambda: now).read()],
            "conversations": {name: await talks.find(talk) for name, talk in TALKS.items()},
        }
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await link.aclose()


def _fail(error: Exception) -> None:
    raise error


# --- engines ----------------------------------------------------------------------------------------------------------


def of_engine(saved: Mapping[str, Any]) -> Any:
    """An engine that goes on from a saved state: what it remembers, and its next recompute."""
    engine = Engine(preset_of_plain(saved["preset"]), timer=lambda: float(saved["at"]))
    engine.load(saved["remembered"])
    for group, windows in saved["windows"].items():
        engine.load_windows(group, {name: base64.b64decode(dump) for name, dump in windows.items()})
        engine.observe_peers(group, windows, saved["at"])
    remembered = {
        group: {name: _as_before(numbers) for name, numbers in deployments.items()}
        for group, deployments in engine.dump().items()
    }
    engine.recompute(saved["at"] + 300.0)
    return {
        "remembered": remembered,
        "verdicts": _verdicts(engine.measured),
        "changes": [[one.deployment, one.previous.value, one.tier.value] for one in engine.transitions],
    }


def _as_before(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what an earlier revision did not remember, where it is empty."""
    added = {f"rule.{name}" for name in _ADDED_STATE}
    return {name: number for name, number in numbers.items() if number or name not in added}


def state_of(engine: Engine, at: float, preset: Mapping[str, Any]) -> Any:
    """What ``of_engine`` goes on from."""
    windows = {
        group: {name: base64.b64encode(dump).decode() for name, dump in engine.dump_windows(group).items()}
        for group in engine.groups()
    }
    return {"preset": preset, "at": at, "remembered": engine.dump(), "windows": windows}


# --- the log of outcomes ----------------------------------------------------------------------------------------------


def of_log(file: Path) -> Any:
    """What presets would have made of it."""
    out = io.StringIO()
    added, earlier = (
        "".join(f",{name}={json.dumps(number)}" for name, number in numbers.items())
        for numbers in (_ONE_VERIFIES, EARLIER)
    )
    presets = (f"adaptive{earlier}", f"openrouter,tool_call_requests=50{added}")
    with contextlib.redirect_stdout(out):
        command.main(["replay", str(file), "--preset", *presets, "--json"])
    return json.loads(out.getvalue().replace(added, "").replace(earlier, ""))
