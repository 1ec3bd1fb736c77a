"""What an earlier revision left behind means the same to today's code; see ``tests/data/previous``."""

from __future__ import annotations

import asyncio
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.audit import queries
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from tests.previous import facts, files
from tests.support.redis_server import RedisServer
from tests.support.served_proxy import ServedProxy, repeatable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXPECTED = files.opened(files.EXPECTED)
AT = EXPECTED["written"]["redis_at"]
DIGITS = 0.0 if facts.arithmetic() == EXPECTED["written"]["arithmetic"] else 1e-9
"""Relative difference between numbers that is none. Other processors and versions of numpy may compute the last digits
of logarithms differently; where they are computed as they were, everything must follow bit for bit."""


def different(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Paths at which two plain data differ."""
    if isinstance(expected, dict) and isinstance(found, dict) and found.keys() == expected.keys():
        for key, value in expected.items():
            yield from different(found[key], value, f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(found, list | tuple) and len(found) == len(expected):
        for number, value in enumerate(expected):
            yield from different(found[number], value, f"{path}[{number}]")
    elif isinstance(expected, float) and isinstance(found, float):
        if not math.isclose(found, expected, rel_tol=DIGITS):
            yield f"{path}: {found!r}, was {expected!r}"
    elif found != expected:
        yield f"{path}: {found!r}, was {expected!r}"


def beyond_rounding(verified: dict[str, Any]) -> list[Any]:
    """Differences of a verification that other arithmetic does not explain."""
    found = verified["differences"]
    return [one for one in found if DIGITS == 0.0 or list(different(one["follows"], one["recorded"]))]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What is read from the store."""
    return facts.of_store(files.unpacked(files.STORE, tmp_path_factory.mktemp("store")))


@pytest.mark.parametrize("part", sorted(EXPECTED["store"].keys() - {"verified"}))
def test_the_store(store: Any, part: str) -> None:
    """Tiers at any time, why, entries of the audit, counts, and what a restart goes on from."""
    assert list(different(store[part], EXPECTED["store"][part])) == []


def test_records_are_verified(store: Any) -> None:
    """Everything on record, of both presets, is computed again from its inputs; nothing is unreadable."""
    found = store["verified"]
    assert beyond_rounding(found) == []
    assert {name: number for name, number in found.items() if name != "differences"} == {
        "recomputes": 26,
        "deployments": 69,
        "transitions": 10,
        "references": 73,
        "unreadable": 0,
        "without_inputs": 0,
    }


@pytest.mark.parametrize("name", EXPECTED["engines"])
def test_a_saved_engine(name: str) -> None:
    """It goes on from what it remembered and from its windows: same epochs, same tiers, no change."""
    found = facts.of_engine(files.opened(files.ENGINES)[name])
    assert list(different(found, EXPECTED["engines"][name])) == []
    assert found["changes"] == []


def test_the_log_of_outcomes(tmp_path: Path) -> None:
    """A replay comes to the same changes and counts."""
    found = facts.of_log(files.unpacked(files.OUTCOMES, tmp_path))
    assert list(different(found, EXPECTED["log"])) == []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis as a killed worker left it."""
    with RedisServer(tmp_path) as server:
        with server.client() as client:
            files.loaded(client, files.opened(files.REDIS))
        yield server


async def test_what_lies_in_redis(server: RedisServer) -> None:
    """Published tiers, saved windows, batches, overrides and conversations."""
    assert list(different(await facts.of_redis(server.url, AT), EXPECTED["redis"])) == []


async def taken_over(proxy: ServedProxy, told: list[Any]) -> None:
    """A worker that begins here serves the result in force at once, leads, and comes to the same tiers by itself.

    Args:
        proxy: the worker.
        told: of the published result, as ``facts`` gives it.
    """
    runtime = proxy.runtime
    for _ in range(100):
        await proxy.turn()
        if runtime.replication.status()["role"] == "leader":
            break
        await asyncio.sleep(0.1)
    assert runtime.engine.measured.id == told[0]
    proxy.now += 300.0
    await proxy.turn()
    measured, in_force = runtime.engine.measured, runtime.engine.snapshot
    await proxy.end()
    assert measured.id != told[0]
    tiers = {
        name: {key: one.tier.value for key, one in group.verdicts.items()} for name, group in measured.groups.items()
    }
    assert tiers == {group: {key: one[0] for key, one in verdicts.items()} for group, verdicts in told[2].items()}
    assert runtime.context.faults.counts == {}
    if runtime.context.settings.redis.url is not None:
        assert in_force.groups["qwen3"].verdicts[DeploymentKey("fir")].tier == "deranked", (
            "an override that lay in Redis"
        )


async def test_a_worker_takes_over(server: RedisServer) -> None:
    """From the one that was killed, through Redis."""
    with repeatable():
        proxy = ServedProxy({"redis": {"url": server.url}})
        proxy.now = AT
        await taken_over(proxy, EXPECTED["redis"]["published"])


async def test_a_restart_goes_on(tmp_path: Path) -> None:
    """From what lies in the store; and what it adds there is verified with the rest."""
    file = files.unpacked(files.STORE, tmp_path)
    told = EXPECTED["store"]["shared"]["published"]
    with repeatable():
        proxy = ServedProxy({"tiers": facts.PUBLISHED}, f"sqlite:///{file}")
        proxy.now = told[1] + 60.0
        await taken_over(proxy, told)
    with connect(location_of_url(f"sqlite:///{file}"), writing=False) as connection, connection.begin():
        found = queries.verify(connection)
    assert (found.recomputes > 26, found.unreadable) == (True, 0)
    assert beyond_rounding(asdict(found)) == []
