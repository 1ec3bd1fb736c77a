"""One process's part in sharing: which Redis it takes, what it does for its replica, what it says about itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from litellm.caching.redis_cache import RedisCache

from exacto_plugin.config.routing import AffinitySettings
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Tier
from exacto_plugin.core.routing.probe_budget import ProbeShare
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.conversation_key import Conversation, ConversationState
from exacto_plugin.litellm_hooks.request.state import RequestState
from exacto_plugin.litellm_hooks.routing.affinity import ConversationAffinity
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.sharing.protocol import ExchangeError, LostLeaseError
from tests.support.redis_server import RedisServer
from tests.support.runtimes import record, router

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 20.0
TALK = b"0123456789abcdef"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that the tests of this module share."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def settings(**redis: Any) -> Settings:
    """The published rule, ten times a second."""
    numbers = {"tool_call_requests": 2, "throughput_requests": 1000}
    tiers = {"preset": "openrouter", "recompute_interval_s": 0.1, "openrouter": numbers}
    return Settings.model_validate({"tiers": tiers, "redis": redis})


class Process:
    """One process with its own runtime; its turns come when a test says so."""

    def __init__(self, given: Settings, served: Any) -> None:
        self.clock = 1_700_000_000.0
        self.runtime = Runtime(given, clock=lambda: self.clock)
        self.router = served
        self.runtime.routers.add(served)

    async def turn(self) -> None:
        """One turn, a tenth of a second after the last one."""
        self.clock += 0.1
        await self.runtime.replication.run_step()

    @property
    def role(self) -> str:
        """What it says about itself."""
        return str(self.runtime.replication.status()["role"])


async def until(seen: Callable[[], bool], *processes: Process) -> None:
    """Take turns until something is seen."""
    ends = asyncio.get_running_loop().time() + PATIENCE_S
    while not seen():
        assert asyncio.get_running_loop().time() < ends, [process.runtime.replication.status() for process in processes]
        for process in processes:
            await process.turn()
        await asyncio.sleep(0.01)


def tiers(process: Process) -> dict[str, str]:
    """Tiers in force, by deployment."""
    group = process.runtime.engine.snapshot.groups.get("g")
    return {} if group is None else {key: verdict.tier.value for key, verdict in group.verdicts.items()}


async def test_processes_serve_what_all_of_them_saw(server: RedisServer) -> None:
    """Each saw one answer of each deployment, and two are needed; both have the same verdicts, told of once."""
    given = settings(url=server.url, namespace="agree")
    served = router("g", keys="abcd")
    processes = [Process(given, served) for _ in range(2)]
    for process in processes:
        for key in "abcd":
            record(process.runtime, key, outcome=Outcome.INVALID_JSON if key == "d" else Outcome.VALID)
    await until(lambda: all(tiers(one).get("d") == "deranked" for one in processes), *processes)
    assert sorted(process.role for process in processes) == ["follower", "leader"]
    status = [process.runtime.replication.status() for process in processes]
    assert {one["exchange"] for one in status} == {"redis"}
    assert {one["workers"] for one in status} == {2}
    assert all(one["lag_s"] < PATIENCE_S for one in status)
    for process in processes:
        # The names of providers, for metrics, are known to whoever did not judge as well.
        assert process.runtime.providers.by_deployment["a"] == "provider-a"
        assert process.runtime.context.faults.counts == {}
        await process.runtime.replication.aclose()
        await process.runtime.timer.aclose()


async def test_a_restart_tells_when_its_own_first_verdicts_come(server: RedisServer) -> None:
    """It continues the verdicts of a minute ago, and makes the next ones a whole interval after its own start."""
    given = settings(url=server.url, namespace="restart")
    given = given.model_copy(update={"tiers": given.tiers.model_copy(update={"recompute_interval_s": 100.0})})
    first, second = Process(given, router("g", keys="ab")), Process(given, router("g", keys="ab"))
    for process, wait_s in ((first, 0.0), (second, 160.0)):
        process.clock += wait_s
        assert process.runtime.replication.next_recompute_at() is None
        await process.runtime.replication.begin()
        assert process.runtime.replication.status().get("workers") is None
        record(process.runtime, "a")
        started = process.clock
        await until(lambda of=process: of.role == "leader", process)  # type: ignore[misc]
        assert process.runtime.replication.next_recompute_at() == pytest.approx(started + 100.0, abs=5.0)
        process.clock = max(process.clock, first.clock + 100.0)
        if process is first:
            await until(lambda: "g" in first.runtime.engine.snapshot.groups, first)
            assert first.runtime.replication.status()["workers"] == 1
            assert first.runtime.replication.next_recompute_at() == pytest.approx(first.clock + 100.0, abs=5.0)
        await process.runtime.replication.aclose()
        await process.runtime.timer.aclose()


async def test_changed_settings_hold_for_the_leaders_verdicts(server: RedisServer) -> None:
    """A rule that was changed while the process runs judges everybody's samples from then on."""
    process = Process(settings(url=server.url, namespace="change"), router("g", keys="abcd"))
    for key in "abcd":
        for _ in range(2):
            record(process.runtime, key, outcome=Outcome.INVALID_JSON if key == "d" else Outcome.VALID)
    await until(lambda: tiers(process).get("d") == "deranked", process)
    stricter = process.runtime.context.settings.tiers.openrouter
    changed = process.runtime.context.settings.model_dump(exclude={"redis"})
    changed["tiers"]["openrouter"] = {**changed["tiers"]["openrouter"], "tool_call_requests": 50}
    assert stricter.tool_call_requests == 2
    process.runtime.context.settings = Settings.model_validate(changed)
    await until(lambda: tiers(process).get("d") == "insufficient_data", process)
    await process.runtime.replication.aclose()
    await process.runtime.timer.aclose()


async def test_litellms_own_connection_is_taken_under_its_namespace(server: RedisServer) -> None:
    """Nothing is configured for us; LiteLLM's Redis is found once it is there, and its namespace is kept."""
    served = router("g")
    process = Process(settings(), served)
    await process.turn()
    assert process.role == "alone"
    record(process.runtime, "a")
    served.cache.redis_cache = RedisCache(host="127.0.0.1", port=server.port, namespace="theirs")
    await until(lambda: process.role == "leader" and "g" in process.runtime.engine.snapshot.groups, process)
    # What was measured before it was there counts as well.
    signals = process.runtime.engine.snapshot.groups["g"].verdicts[DeploymentKey("a")].signals
    assert [one.samples for one in signals.values() if one.samples] == [1]
    with server.client() as client:
        keys: Any = client.keys("theirs:*")
        assert {key.decode().rpartition(":")[2] for key in keys} >= {"head", "publication"}
    await process.runtime.replication.aclose()
    await process.runtime.timer.aclose()
    await served.cache.redis_cache.init_async_client().aclose()


async def test_nothing_is_shared_when_that_is_switched_off(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when LiteLLM has a Redis: the process judges alone, and soon keeps nothing for others."""
    monkeypatch.setattr("exacto_plugin.litellm_hooks.runtime.replication._EARLY_S", 0.0)
    served = router("g")
    served.cache.redis_cache = RedisCache(host="127.0.0.1", port=server.port)
    process = Process(settings(enabled=False), served)
    await process.runtime.replication.begin()
    record(process.runtime, "a")
    await until(lambda: "g" in process.runtime.engine.snapshot.groups, process)
    assert process.role == "alone"
    assert process.runtime.engine.deltas is None
    await process.runtime.timer.aclose()


async def test_a_redis_that_is_not_there_is_counted_and_changes_nothing(server: RedisServer) -> None:
    """The process judges alone from what it saw, says so, and counts the fault."""
    process = Process(settings(url="redis://127.0.0.1:1/0"), router("g"))
    record(process.runtime, "a")
    await until(lambda: process.role == "local" and "g" in process.runtime.engine.snapshot.groups, process)
    assert set(process.runtime.context.faults.counts) == {"sharing"}
    assert process.runtime.replication.status()["lag_s"] is None
    await process.runtime.replication.aclose()
    await process.runtime.timer.aclose()


def test_a_lease_that_went_to_another_worker_is_no_fault() -> None:
    """It happens whenever one is held up for longer than its lease; the other one leads."""
    runtime = Runtime(settings())
    runtime.replication.exchange_unavailable(LostLeaseError("another worker leads"))
    assert runtime.context.faults.counts == {}
    runtime.replication.exchange_unavailable(ExchangeError("no answer"))
    assert runtime.context.faults.counts == {"sharing": 1}


async def test_who_judges_alone_has_the_whole_budget_of_probes(server: RedisServer) -> None:
    """Its snapshots' budgets come from its own traffic, however many shared the last one."""
    process = Process(settings(url="redis://127.0.0.1:1/0"), router("g"))
    process.runtime.engine.share_probes(ProbeShare(-1, 10))
    await process.runtime.replication.recompute_alone(process.clock)
    assert process.runtime.engine._probe_budget.share == ProbeShare()
    await process.runtime.timer.aclose()


def request() -> RequestState:
    """A later turn of a conversation."""
    return RequestState(model_group="g", affinity=ConversationState(Conversation(TALK, is_new=False)))


def affinity_of(runtime: Runtime) -> ConversationAffinity:
    """The session affinity of a runtime."""
    return ConversationAffinity(runtime.context, runtime.conversations, runtime.replication, runtime.routers)


def attempt(key: str) -> Attempt:
    """One attempt of a request."""
    return Attempt(Candidate(LiteLLMId(key), DeploymentKey(key), f"provider-{key}"), "g", Tier.VERIFIED_GOOD)


async def test_affinity_that_is_switched_on_later_is_shared(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a conversation is is told from then on, with the idle time of then, and no longer once it is off again."""
    monkeypatch.setattr("exacto_plugin.litellm_hooks.runtime.runtime.salt_is_shared", lambda: True)
    # A busy machine may not get to answer within 50 ms.
    monkeypatch.setattr("exacto_plugin.sharing.redis.conversations.BUDGET_S", 1.0)
    given = settings(url=server.url, namespace="later")
    without = given.model_copy(update={"affinity": AffinitySettings(enabled=False)})
    one, two = processes = [Process(without, router("g")) for _ in range(2)]
    await until(lambda: all(process.role in ("leader", "follower") for process in processes), *processes)
    for process in processes:
        process.runtime.context.settings = given.model_copy(update={"affinity": AffinitySettings(idle_s=60.0)})

    def reachable() -> bool:
        shared = [process.runtime.replication.conversations for process in processes]
        return all(one is not None and one.reachable for one in shared)

    await until(reachable, *processes)
    affinity_of(one.runtime).note_attempt(request(), attempt("a"))
    with server.client() as client:
        await until(lambda: bool(client.keys("later:*talk*")), *processes)
        (key,) = cast("list[bytes]", client.keys("later:*talk*"))
        assert 0 < cast("int", client.pttl(key)) <= 60_000
        await affinity_of(two.runtime).look_up(request())
        assert two.runtime.conversations.last_known(TALK) == "a"
        one.runtime.context.settings = without
        under_way = attempt("a")
        under_way.conversation = bytes(16)
        one.runtime.conversations.assign(under_way.conversation, LiteLLMId("a"), one.clock)
        affinity_of(one.runtime).note_answer(under_way)
        shared = one.runtime.replication.conversations
        assert shared is not None
        await shared.publish()
        assert client.keys("later:*talk*") == [key]
    for process in processes:
        await process.runtime.replication.aclose()
        await process.runtime.timer.aclose()


async def test_a_changed_redis_waits_for_a_restart(server: RedisServer) -> None:
    """As the log says: processes that share move together."""
    process = Process(settings(enabled=False), router("g"))
    process.runtime.context.settings = settings(url=server.url)
    for _ in range(3):
        await process.turn()
    assert process.role == "alone"
    await process.runtime.timer.aclose()


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", ""])
def test_an_address_that_is_none_stops_the_start(url: str) -> None:
    """The message names the key and what was expected, and not the address, which may hold a password."""
    with pytest.raises(ValueError, match="redis") as caught:
        settings(url=url)
    assert "redis://" in str(caught.value)
