"""Two proxies with two workers each on one Redis, which is killed, stopped and emptied while they serve."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from tests.support.proxy.background_traffic import Traffic
from tests.support.proxy.observation import eventually
from tests.support.proxy.proxy import CALLBACK, MASTER_KEY, Proxy, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.demo.provider import SimulatedProviders

NAMES = ("alpha", "beta", "gamma")
WORKERS = 2


class Fleet(NamedTuple):
    """Two proxies on one Redis: the first one has its address, the second one LiteLLM's own connection."""

    redis: RedisServer
    proxies: tuple[Proxy, ...]

    def states(self) -> dict[str, dict[str, Any]]:
        """What every worker says about itself, and the judged answers that its snapshot counts, by its name."""
        found: dict[str, dict[str, Any]] = {}
        for proxy in self.proxies:
            names: set[str] = set()
            while len(names) < WORKERS:
                state = _state(proxy)
                names.add(state["sharing"]["worker"])
                found[state["sharing"]["worker"]] = state
        return found


def _state(proxy: Proxy) -> dict[str, Any]:
    """One worker's state; both questions are asked on one connection, which one worker has."""
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    url = f"{proxy.base_url}/exacto/api/"
    with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False, verify=False) as client:
        state: dict[str, Any] = client.get("status").raise_for_status().json()
        deployments = client.get("models/kimi").json().get("deployments", ())
    return {**state, "counts": {one["deployment"]: _judged(one) for one in deployments}}


def _judged(one: dict[str, Any]) -> int:
    return int(one["signals"].get("tool_call_success", {}).get("samples", 0))


def _config(providers: SimulatedProviders, **more: Any) -> dict[str, Any]:
    tiers = {"preset": "openrouter", "recompute_interval_s": 0.5}
    return {
        "model_list": [deployment(providers, name) for name in NAMES],
        "litellm_settings": {"callbacks": [CALLBACK]},
        "exacto_settings": {"tiers": tiers, **more.pop("exacto", {})},
        **more,
    }


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, provider_server: SimulatedProviders) -> Iterator[Fleet]:
    """Both proxies, started at the same time."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as redis:
        configs = (
            _config(provider_server, exacto={"redis": {"url": redis.url}}),
            _config(provider_server, router_settings={"redis_host": "127.0.0.1", "redis_port": redis.port}),
        )
        proxies = [Proxy(one, tmp_path_factory.mktemp("proxy"), workers=WORKERS) for one in configs]
        try:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda proxy: proxy.__enter__(), proxies))
            yield Fleet(redis, tuple(proxies))
        finally:
            for proxy in proxies:
                proxy.stop()


def _settled(fleet: Fleet, providers: SimulatedProviders) -> None:
    """One leads, all serve snapshots of that one, and these count every request that a provider saw."""
    wanted = {name: providers.control.requests(name) for name in NAMES}

    def seen() -> list[Any]:
        states = fleet.states().values()
        leaders = {state["sharing"]["leader"] for state in states}
        # A snapshot's id ends with the beginning of the name of who made it.
        makers = {state["snapshot"].rpartition("-")[2] for state in states}
        roles = sorted(state["sharing"]["role"] for state in states)
        counted = [state["counts"] == wanted for state in states]
        return [roles, len(leaders), makers == {leader[:4] for leader in leaders}, counted]

    eventually(seen, [["follower"] * 3 + ["leader"], 1, True, [True] * 4])


def test_all_workers_of_both_proxies_have_one_opinion(fleet: Fleet, provider_server: SimulatedProviders) -> None:
    """One of four workers leads; all serve its snapshot, which counts what all of them were asked."""
    traffic = Traffic(NAMES, *fleet.proxies)
    for number in range(24):
        traffic.ask(number)
    assert traffic.failed == []
    _settled(fleet, provider_server)
    states = fleet.states()
    assert len(states) == 2 * WORKERS
    assert {state["sharing"]["exchange"] for state in states.values()} == {"redis"}
    assert {state["sharing"]["workers"] for state in states.values()} == {2 * WORKERS}
    assert len({state["sharing"]["leader"] for state in states.values()}) == 1


def _turn(proxy: Proxy, session: str) -> str:
    """One further turn of a conversation; which deployment answered."""
    said = [*MESSAGES, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "And tomorrow?"}]
    body = {"model": "kimi", "messages": said, "tools": TOOLS, "session_id": session}
    answer = proxy.request("POST", "/v1/chat/completions", json=body).raise_for_status()
    return str(answer.headers["x-exacto-deployment"])


def test_a_conversation_stays_whichever_proxy_its_turns_come_to(fleet: Fleet) -> None:
    """Every turn after the first one goes to a process that may never have seen the conversation, and stays.

    On a machine so busy that Redis does not answer within 50 ms a conversation may move, which is then tried again;
    that eight or more turns meet by chance is not to be expected.
    """
    numbers = itertools.count()

    def stays() -> bool:
        conversations = [f"session-{next(numbers)}" for _ in range(4)]
        first = {session: _turn(fleet.proxies[0], session) for session in conversations}
        with fleet.redis.client() as client:
            eventually(lambda: len(list(client.scan_iter("exacto:1:talk:*"))) >= len(conversations), True)
        turns = (*fleet.proxies[::-1], *fleet.proxies)
        return all({session: _turn(proxy, session) for session in conversations} == first for proxy in turns)

    eventually(stays, True)


def test_an_operators_word_holds_in_every_process(fleet: Fleet) -> None:
    """What is said to one worker of one proxy is in force in all of them, and so is taking it back."""
    said = {"deployment": "gamma", "for_s": 600, "reason": "a test", "model_group": "kimi"}
    for word, held in (("deranked", 1), ("reset", 0)):
        told = fleet.proxies[0].request("POST", "/exacto/api/overrides", json={**said, "word": word})
        told.raise_for_status()
        eventually(lambda: {state["overrides"] for state in fleet.states().values()}, {held})


@pytest.mark.parametrize("fault", ["killed and started empty", "stopped"])
def test_nobody_notices_what_happens_to_redis(fleet: Fleet, provider_server: SimulatedProviders, fault: str) -> None:
    """No request fails; every worker judges alone meanwhile; afterwards each answer counts, once."""
    traffic = Traffic(NAMES, *fleet.proxies)
    with traffic.flowing():
        traffic.wait_for(6)
        if fault == "stopped":
            fleet.redis.pause()
        else:
            fleet.redis.kill()
        traffic.wait_for(6)
        eventually(lambda: {state["sharing"]["role"] for state in fleet.states().values()}, {"local"})
        before = {worker: state["snapshot"] for worker, state in fleet.states().items()}
        eventually(lambda: any(fleet.states()[worker]["snapshot"] == known for worker, known in before.items()), False)
        if fault == "stopped":
            fleet.redis.resume()
        else:
            fleet.redis.start()
        traffic.wait_for(6)
    assert traffic.failed == []
    _settled(fleet, provider_server)
    states = fleet.states().values()
    assert {stage for state in states for stage in state["faults"]} <= {"sharing", "overrides", "alerts"}


def test_redis_holds_nothing_that_callers_sent(fleet: Fleet) -> None:
    """Names of model groups and deployments, random names of workers, integers and verdicts; no key, no text."""
    with fleet.redis.client() as client:
        keys: Any = client.keys("{exacto}:*")
        names = sorted(key.decode() for key in keys)
        lefts: Any = [client.pttl(key) for key in keys]
    assert {name.split(":")[2] for name in names} <= {
        "head", "batches", "held", "workers", "watched", "publication", "state", "words", "alerts",
    }  # fmt: skip
    # -1: it never expires; -2: it has expired since the keys were listed.
    assert -1 not in lefts, dict(zip(keys, lefts, strict=True))
