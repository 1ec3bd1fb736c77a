"""Alerts of real runtimes: each event once, over processes, restarts and machines; a slow receiver delays nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from opentelemetry import _logs
from opentelemetry._logs import _internal as logs_api

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import DeploymentKey, GroupSnapshot, Reason, ReasonCode, Snapshot, Tier, Verdict
from exacto_plugin.litellm_hooks.features import Feature, Gap
from exacto_plugin.litellm_hooks.monitoring.alert_text import link_to
from exacto_plugin.litellm_hooks.monitoring.alerts import Alerts, AlertSources
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.records import TransitionRecord
from exacto_plugin.sharing.redis.alert_states import RedisAlertStates
from exacto_plugin.sharing.redis.connection import RedisConnection
from exacto_plugin.store.location import location_of_url
from tests.support import redis_server
from tests.support.redis_server import RedisServer
from tests.support.runtimes import router

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from exacto_plugin.litellm_hooks.monitoring.alert_text import Alert

NOW = 1_700_000_000.0
GOOD, BAD = Tier.VERIFIED_GOOD, Tier.DERANKED
BOTH_GOOD = {"a": GOOD, "b": GOOD}
ONE_BAD = {"a": GOOD, "b": BAD}


class Process:
    """One process on a store, whose verdicts a test puts in force; its alerts are kept."""

    def __init__(self, file: Path, *, now: float = NOW, **settings: Any) -> None:
        self.now = now
        place = location_of_url(f"sqlite:///{file}")
        self.runtime = Runtime(Settings.model_validate(settings), clock=lambda: self.now, place=place)
        self.router = router("g")
        self.runtime.routers.set_source(lambda: self.router)
        self.sent: list[Alert] = []
        self.receiving = asyncio.Event()
        self.receiving.set()
        parts = self.runtime
        sources = AlertSources(
            parts.context, parts.engine, parts.routers, parts.observed, parts.replication, parts.store
        )
        self.alerts = Alerts(sources, self._why, self._send)
        self._shown = 0

    async def _why(self, deployment: str, model_group: str) -> list[str]:
        return [f"Because of {deployment} in {model_group}."]

    async def _send(self, alert: Alert) -> None:
        await self.receiving.wait()
        self.sent.append(alert)

    async def show(self, tiers: Mapping[str, Tier], cause: Reason | None = None, group: str = "g") -> list[str]:
        """Put these verdicts in force, and return what is told of them."""
        self._shown += 1
        self.now += 20.0
        keyed = {DeploymentKey(key): Verdict(DeploymentKey(key), tier, since=self.now) for key, tier in tiers.items()}
        groups = {group: GroupSnapshot(group, keyed, at=self.now, common_cause=cause)}
        self.runtime.engine.adopt(Snapshot(f"{id(self)}-{self._shown}", self.now, groups), {})
        return await self.look()

    async def look(self) -> list[str]:
        """Run the job once, and return what it told."""
        before = len(self.sent)
        await self.alerts.run()
        if self.alerts._delivery is not None and self.receiving.is_set():
            await self.alerts._delivery
        assert dict(self.runtime.context.faults.counts) == {}
        return [f"{one.kind} {one.model_group} {one.name}".strip() for one in self.sent[before:]]

    def share(self, states: RedisAlertStates) -> None:
        """What was told is in a Redis too."""
        self.runtime.replication._redis.alert_states = states

    def close(self) -> None:
        """End as a process does."""
        self.runtime.store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The database of one machine."""
    return tmp_path / "records.sqlite"


async def test_each_change_is_told_once(file: Path) -> None:
    """By one of two processes with the same verdicts, and by none that starts later."""
    one, two = Process(file), Process(file)
    assert await one.show(BOTH_GOOD) == await two.show(BOTH_GOOD) == []
    assert await one.show(ONE_BAD) == ["derank g b"]
    assert one.sent[0].message == "Because of b in g."
    assert await two.show(ONE_BAD) == []
    later = Process(file, now=two.now)
    assert await later.show(ONE_BAD) == []
    assert await later.show(BOTH_GOOD) == ["readmission g b"]
    assert later.sent[0].message == "b of g is no longer deranked, but verified good. Because of b in g."
    one.now = later.now
    assert await one.show(BOTH_GOOD) == []
    assert await one.show({"a": BAD, "b": BAD}) == ["derank g a", "derank g b", "no_verified_deployment g"]
    assert [each.level for each in one.sent[-3:]] == ["Medium", "Medium", "High"]
    for process in (one, two, later):
        process.close()


async def test_a_common_cause_is_told(file: Path) -> None:
    """With its size, once while it lasts."""
    process = Process(file)
    cause = Reason(ReasonCode.COMMON_CAUSE, value=0.213, peers=3, begin=NOW)
    assert await process.show(BOTH_GOOD, cause) == ["common_cause g"]
    assert "failure rate of 3 deployments of g rose by 21.3%" in process.sent[0].message
    assert await process.show(BOTH_GOOD, cause) == []
    process.close()


async def test_a_curated_list_and_a_feature(file: Path) -> None:
    """The list's entry is named; the feature's alert has the reason, and so has the next process nothing to tell."""
    process = Process(file, curated={"g": ["provider-b"]})
    gap = Gap("Router.x", (Feature.RESCUE,), "nothing is rescued")
    process.runtime.context.features.lose([gap])
    assert await process.show(ONE_BAD) == ["feature_off  rescue", "derank g b", "curated_list g"]
    messages = [one.message for one in process.sent]
    assert messages[0].endswith("lacks Router.x: nothing is rescued.")
    assert "provider-b" in messages[2]
    again = Process(file, now=process.now, curated={"g": ["provider-b"]})
    again.runtime.context.features.lose([gap])
    assert await again.show(ONE_BAD) == []
    process.close()
    again.close()


async def test_stale_verdicts(file: Path) -> None:
    """Verdicts that nothing renews are told after three intervals, but not those that a process begins with."""
    process = Process(file)
    assert await process.show(BOTH_GOOD) == []
    interval_s = process.runtime.context.settings.tiers.recompute_interval_s
    process.now += 4 * interval_s
    assert await process.look() == ["stale_snapshot g"]
    assert await process.look() == []
    begun = Process(file, now=process.now)
    begun.runtime.engine.adopt(process.runtime.engine.snapshot, {})
    assert await begun.look() == []
    process.close()
    begun.close()


async def test_flapping_counts_what_is_on_record(file: Path) -> None:
    """Five changes within an hour, whichever process wrote them."""
    process = Process(file)
    for number in range(5):
        record = TransitionRecord(NOW - 60 * number, "g", "a", GOOD.value, BAD.value, [], f"s{number}")
        process.runtime.store.write(record)
        process.runtime.store.write(TransitionRecord(NOW - 3700, "g", "b", GOOD.value, BAD.value, [], f"o{number}"))
    assert process.runtime.store.flush()
    assert await process.show(BOTH_GOOD) == ["flapping g a"]
    process.now += 3600
    assert await process.show(BOTH_GOOD) == []
    process.close()


async def test_names_that_callers_choose_are_not_told(file: Path) -> None:
    """A group that no operator configured has verdicts under a wildcard, and no alerts."""
    process = Process(file)
    assert await process.show(ONE_BAD, group="invented") == []
    process.close()


async def test_off(file: Path) -> None:
    """``alerts.enabled: false`` tells nothing and keeps nothing."""
    process = Process(file, alerts={"enabled": False})
    assert await process.show(ONE_BAD) == []
    process.close()


async def test_a_slow_receiver_delays_no_other_job(file: Path) -> None:
    """The job returns while the receiver has not answered; what waited arrives afterwards, in order."""
    process = Process(file)
    process.receiving.clear()
    assert await process.show(ONE_BAD) == []
    assert await process.show({"a": BAD, "b": BAD}) == []
    process.receiving.set()
    assert await process.look() == ["derank g b", "derank g a", "no_verified_deployment g"]
    process.close()


async def test_a_store_that_is_down_is_no_reason_to_be_silent(file: Path) -> None:
    """What a process itself told decides then."""
    process = Process(file)
    assert await process.show(BOTH_GOOD) == []
    process.close()
    assert await process.show(ONE_BAD) == ["derank g b"]
    assert await process.show(ONE_BAD) == []
    assert await process.show(BOTH_GOOD) == ["readmission g b"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this module's own."""
    if (reason := redis_server.missing()) is not None:
        pytest.skip(reason)
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


async def test_machines_with_one_redis_tell_once(tmp_path: Path, server: RedisServer) -> None:
    """Each has a store of its own; an emptied Redis makes nobody tell again."""
    client: Any = redis.asyncio.Redis(port=server.port)
    states = RedisAlertStates(RedisConnection(lambda: client, "{test}:1:", owned=True))
    one, two = Process(tmp_path / "one"), Process(tmp_path / "two")
    for process in (one, two):
        process.share(states)
    assert await one.show(ONE_BAD) == ["derank g b"]
    assert await two.show(ONE_BAD) == []
    assert await two.show(BOTH_GOOD) == ["readmission g b"]
    one.now = two.now
    assert await one.show(BOTH_GOOD) == []
    assert await one.show(ONE_BAD) == ["derank g b"]
    await client.flushall()
    again = Process(tmp_path / "one", now=one.now)
    again.share(states)
    assert await again.show(ONE_BAD) == []
    await client.aclose()
    for process in (one, two, again):
        process.close()


async def test_each_alert_is_an_event(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of OpenTelemetry, with the sentence as its body and attributes of what it is about."""
    from opentelemetry.sdk._logs import LoggerProvider, export

    # Names before 1.39, and before 1.35 without names of events.
    made: Any = getattr(export, "InMemoryLogRecordExporter", None) or getattr(export, "InMemoryLogExporter", None)
    exporter = made()
    provider = LoggerProvider()
    provider.add_log_record_processor(export.SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(logs_api, "_LOGGER_PROVIDER", provider)
    assert _logs.get_logger_provider() is provider
    process = Process(file)
    assert await process.show(ONE_BAD) == ["derank g b"]
    (event,) = [one.log_record for one in exporter.get_finished_logs()]
    attributes = dict(event.attributes or {})
    name = attributes.pop("event.name", None) or event.event_name
    assert (name, event.body) == ("exacto.alert", "Because of b in g.")
    wanted = {"exacto.alert": "derank", "exacto.model_group": "g", "exacto.deployment.id": "b"}
    assert attributes == wanted
    process.close()


@pytest.mark.parametrize(
    ("base", "group", "deployment", "link"),
    [
        ("https://x/llm/", "g/1", "a b", "https://x/llm/exacto#deployment?group=g%2F1&name=a+b"),
        ("http://x", "g", "", "http://x/exacto#group?name=g"),
        ("http://x", "", "", "http://x/exacto"),
        ("x", "g", "a", ""),
        ("", "g", "a", ""),
    ],
)
def test_the_link(monkeypatch: pytest.MonkeyPatch, base: str, group: str, deployment: str, link: str) -> None:
    """To the page's view of the deployment or group, where the proxy's address is known."""
    monkeypatch.setenv("PROXY_BASE_URL", base)
    assert link_to(group, deployment) == link
