"""The plugin in a program: the same slugs, filters, tiers and scores on ``litellm.Router``, async and sync, whole and
streamed, against providers that speak real HTTP."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import litellm
import pytest

import exacto_plugin
from exacto_plugin import Exacto, ExactoRefusedError
from exacto_plugin.demo.behaviour import Act
from tests.sdk.conftest import Program, judged, tiers
from tests.support.proxy.observation import eventually
from tests.support.proxy.openai_client import asked, bodies, prices
from tests.support.proxy.proxy import deployment
from tests.support.proxy.questions import TOOLS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from exacto_plugin.demo.provider import SimulatedProviders

    MakeExacto = Callable[..., Exacto]

KIMI = ("dear", "cheap")


STRATEGIES = (
    "simple-shuffle",
    "least-busy",
    "latency-based-routing",
    "usage-based-routing",
    "usage-based-routing-v2",
)


def make_router(providers: SimulatedProviders, **more: Any) -> litellm.Router:
    """Two deployments of ``kimi`` with prices, and one of ``glm``."""
    entries = [
        deployment(providers, "dear", **prices(2, 4)),
        deployment(providers, "cheap", **prices(1, 1)),
        deployment(providers, "delta", "glm", **prices(1, 1)),
        deployment(providers, "wild", "wild/*", model="openai/*"),
    ]
    return litellm.Router(model_list=entries, disable_cooldowns=True, **{"num_retries": 0, **more})


def test_slugs_sort(providers: SimulatedProviders, make_exacto: MakeExacto, program: Program) -> None:
    """Suffixes and the ``provider`` object sort, alone and under a wildcard, and nothing of them reaches a provider."""
    router = make_router(providers)
    make_exacto().attach(router)
    for more in (
        {"model": "kimi:floor"},
        {"model": "kimi:exacto:floor"},
        {"model": "kimi", "provider": {"sort": "price"}},
    ):
        assert [program.ask(router, **more) for _ in range(3)] == ["cheap"] * 3
    program.ask(router, "wild/any:nitro")
    assert asked(providers, KIMI) == {"dear": 0, "cheap": 9}
    for body in bodies(providers, ["cheap", "wild"]):
        assert body["model"] in ("kimi", "any")
        assert not body.keys() & {"provider", "models", "exacto_suffixes"}
        assert body["tools"] == TOOLS


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy(
    providers: SimulatedProviders, make_exacto: MakeExacto, strategy: str, loop: asyncio.Runner
) -> None:
    """LiteLLM's strategies pick inside what the request may have, also those without an asynchronous form."""
    router = make_router(providers, routing_strategy=strategy)
    make_exacto(curated={"kimi": ["dear"]}).attach(router)
    for way in ("sync-whole", "async-whole"):
        program = Program(way, loop)
        assert [program.ask(router, "kimi:exacto") for _ in range(3)] == ["dear"] * 3
        assert [program.ask(router, "kimi:floor") for _ in range(3)] == ["cheap"] * 3


def test_a_curated_list_is_a_promise(providers: SimulatedProviders, make_exacto: MakeExacto, program: Program) -> None:
    """``:exacto`` stays on its list, also in fallbacks; a list that leaves nobody refuses with a BadRequestError."""
    router = make_router(providers, fallbacks=[{"glm": ["kimi:exacto"]}])
    make_exacto(curated={"kimi": ["dear"], "glm": ["nobody"]}).attach(router)
    assert {program.ask(router, "kimi:exacto") for _ in range(4)} == {"dear"}
    assert {program.ask(router, "glm:exacto", models=["glm:exacto", "kimi:exacto:floor"]) for _ in range(3)} == {"dear"}
    with pytest.raises(ExactoRefusedError, match="curated") as raised:
        program.ask(router, "glm:exacto", fallbacks=[])
    assert isinstance(raised.value, litellm.BadRequestError)
    assert raised.value.refusal.status == 404
    providers.control.behave("delta", always=500)
    assert {program.ask(router, "glm") for _ in range(3)} == {"dear"}
    with pytest.raises(ExactoRefusedError, match=r"provider\.sort"):
        program.ask(router, "kimi", provider={"sort": "luck"}, fallbacks=[])


def test_a_cooling_curated_list(providers: SimulatedProviders, make_exacto: MakeExacto, either: Program) -> None:
    """While all that the list allows is cooling down, the refusal says for how long."""
    entries = [deployment(providers, name) for name in KIMI]
    router = litellm.Router(model_list=entries, num_retries=0, cooldown_time=30)
    make_exacto(curated={"kimi": ["dear"]}).attach(router)
    providers.control.behave("dear", always=429)
    with pytest.raises(litellm.RateLimitError):
        either.ask(router, "kimi:exacto")

    def refused() -> int:
        try:
            either.ask(router, "kimi:exacto")
        except ExactoRefusedError as error:
            return error.refusal.status if 0 < (error.refusal.retry_after_s or 0) <= 30 else 0
        except litellm.RateLimitError:
            either.idle()  # LiteLLM notes the failure after it told of it
        return 0

    eventually(refused, 429)


def test_tiers_come_from_what_was_answered(
    providers: SimulatedProviders, make_exacto: MakeExacto, program: Program
) -> None:
    """Bad calls derank a deployment; requests with tools then avoid it, and fall back to it when the others fail."""
    good = ("a", "b", "c")
    router = make_router(providers, num_retries=3)
    router.set_model_list([deployment(providers, name) for name in (*good, "cheap")])
    exacto = make_exacto().attach(router)
    providers.control.behave("cheap", always=Act.SCHEMA_MISMATCH)
    for pinned in (*good, "cheap") * 4:
        program.ask(router, pinned)
    eventually(judged(exacto, program, "kimi"), {**dict.fromkeys(good, (4, 0)), "cheap": (4, 4)})
    assert tiers(exacto, "kimi") == {**dict.fromkeys(good, "verified_good"), "cheap": "deranked"}
    assert "cheap" not in {program.ask(router, "kimi") for _ in range(8)}
    for name in good:
        providers.control.behave(name, always=500)
    assert program.ask(router, "kimi") == "cheap"
    eventually(lambda: judged(exacto, program, "kimi")()["cheap"], (5, 5))
    assert exacto._runtime.context.faults.counts == {}


def test_attempts_are_not_repeated(providers: SimulatedProviders, make_exacto: MakeExacto, either: Program) -> None:
    """A retry goes to a deployment that this request has not tried."""
    entries = [deployment(providers, name) for name in ("a", "b", "c")]
    router = litellm.Router(model_list=entries, num_retries=2, disable_cooldowns=True)
    make_exacto().attach(router)
    for name in "ab":
        providers.control.behave(name, always=500)
    for _ in range(4):
        assert either.ask(router, "kimi") == "c"
    counts = asked(providers, "abc")
    assert counts["c"] == 4
    assert max(counts["a"], counts["b"]) <= 4


def test_deployments_come_and_go(providers: SimulatedProviders, make_exacto: MakeExacto, either: Program) -> None:
    """What is added to a router, replaced or removed while it runs counts from the next request on."""
    router = make_router(providers)
    exacto = make_exacto(curated={"late": ["newer"]}).attach(router)
    with pytest.raises(litellm.BadRequestError):
        either.ask(router, "late:floor")
    for name, price in (("newest", 3), ("newer", 2)):
        entry = deployment(providers, name, "late", **prices(price, price))
        router.add_deployment(litellm.types.router.Deployment(**entry))
    assert {either.ask(router, "late:floor") for _ in range(3)} == {"newer"}
    assert {either.ask(router, "late:exacto") for _ in range(3)} == {"newer"}
    cheaper = deployment(providers, "newest", "late", **prices(1, 1))
    router.upsert_deployment(litellm.types.router.Deployment(**cheaper))
    assert {either.ask(router, "late:floor") for _ in range(3)} == {"newest"}
    eventually(judged(exacto, either, "late"), {"newer": (6, 0), "newest": (3, 0)})
    router.delete_deployment("newer")
    assert judged(exacto, either, "late")() == {"newest": (3, 0)}
    router.set_model_list([deployment(providers, "only", "other")])
    assert either.ask(router, "other:exacto") == "only"
    with pytest.raises(litellm.BadRequestError):
        either.ask(router, "late:floor")


def test_only_attached_routers_are_routed(
    providers: SimulatedProviders, make_exacto: MakeExacto, either: Program
) -> None:
    """Another router of the program keeps its own ways, and so does one that was detached."""
    entries = [deployment(providers, name, **prices(price, price), weight=weight) for name, price, weight in WEIGHTED]
    attached, other = (litellm.Router(model_list=entries, disable_cooldowns=True) for _ in range(2))
    exacto = make_exacto(default_sort="price")
    assert {either.ask(attached, "kimi") for _ in range(3)} == {"dear"}
    assert "routers=0" in repr(exacto)
    exacto.attach(attached)
    assert {either.ask(attached, "kimi") for _ in range(3)} == {"cheap"}
    for router in (other, attached):
        assert {either.ask(router, "kimi") for _ in range(3)} == {"dear"}
        with pytest.raises(litellm.BadRequestError):
            either.ask(router, "kimi:floor")
        exacto.detach(attached)


WEIGHTED = (("dear", 2, 1), ("cheap", 1, 0))


def test_direct_calls_are_scored(providers: SimulatedProviders, make_exacto: MakeExacto, program: Program) -> None:
    """Without a router nothing is routed; providers of one model are compared by provider and host."""
    exacto = make_exacto()
    providers.control.behave("shaky", always=Act.INVALID_JSON)
    hosts = {name: providers.api_base(name).replace("127.0.0.1", host) for name, host in HOSTS.items()}
    for api_base in hosts.values():
        for _ in range(2):
            program.direct(model="openai/direct", api_base=api_base, api_key="sk-x", tools=TOOLS)
    told = judged(exacto, program, "direct")
    eventually(lambda: sorted(told().values()), [(2, 0), (2, 2)])
    (group,) = (one for one in exacto.tiers()["model_groups"] if one["model_group"] == "direct")
    assert {one["provider"].split(":")[0] for one in group["deployments"]} == set(HOSTS.values())


HOSTS = {"steady": "127.0.0.1", "shaky": "localhost"}


def test_failed_direct_calls_are_counted(
    providers: SimulatedProviders, make_exacto: MakeExacto, either: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is one failed attempt."""
    exacto = make_exacto()
    failed: list[str] = []
    count = exacto._runtime.context.telemetry
    monkeypatch.setattr(count, "attempt", lambda group, _tier, error: failed.append(f"{group} {error}"))
    providers.control.behave("steady", always=500)
    with pytest.raises(litellm.InternalServerError):
        either.direct(model="openai/direct", api_base=providers.api_base("steady"), api_key="sk-x", max_retries=0)
    either.idle()
    eventually(lambda: failed, ["direct server_error"])


def test_threads(providers: SimulatedProviders, make_exacto: MakeExacto, loop: asyncio.Runner) -> None:
    """Many threads ask while verdicts are made; every answer is counted once, and nothing fails."""
    router = make_router(providers)
    exacto = make_exacto().attach(router)
    program = Program("sync-whole", loop)
    done = threading.Event()

    def recompute() -> None:
        while not done.is_set():
            exacto.recompute()

    judge = threading.Thread(target=recompute)
    judge.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            served = list(pool.map(lambda _: program.ask(router, "kimi:floor"), range(60)))
    finally:
        done.set()
        judge.join()
    assert set(served) == {"cheap"}
    eventually(judged(exacto, program, "kimi"), {"cheap": (60, 0)})
    assert exacto._runtime.context.faults.counts == {}


def test_the_timer_runs_without_a_loop(
    providers: SimulatedProviders, make_exacto: MakeExacto, loop: asyncio.Runner
) -> None:
    """A program without an event loop gets verdicts too, every so often, from a thread that ends with the plugin."""
    router = make_router(providers)
    exacto = make_exacto(tiers={"recompute_interval_s": 0.02}).attach(router)
    assert exacto.tiers()["model_groups"] == []
    Program("sync-whole", loop).ask(router, "kimi")
    eventually(lambda: [one["model_group"] for one in exacto.tiers()["model_groups"]], ["kimi"])
    timers = [one for one in threading.enumerate() if one.name == "exacto-recompute" and one.is_alive()]
    assert timers
    exacto.close()
    assert not any(one.is_alive() for one in timers if one in threading.enumerate() and one is timers[-1])


def test_one_plugin_at_a_time(make_exacto: MakeExacto) -> None:
    """A second one replaces the first; when it is closed, LiteLLM's own functions are back."""
    original = litellm.Router.get_available_deployment
    replaced = make_exacto()
    with make_exacto() as exacto:
        assert replaced._callback not in litellm.callbacks
        assert exacto._callback in litellm.callbacks
    assert exacto._callback not in litellm.callbacks
    assert litellm.Router.get_available_deployment is original
    assert not hasattr(original, "exacto_wraps")
    assert [name for name, one in exacto.features.items() if not one["on"]] == []
    with pytest.raises(exacto_plugin.SettingsError, match="no_such_key"):
        Exacto({"no_such_key": 1})
    make_exacto()


def test_one_that_was_closed_stands_in_nobodys_way(
    providers: SimulatedProviders, make_exacto: MakeExacto, either: Program
) -> None:
    """A call under way at the end may leave the closed one with LiteLLM; the next one is called all the same."""
    first = make_exacto()
    first.close()
    for listed in (litellm.success_callback, litellm._async_success_callback):
        listed.append(first._callback)
    router = make_router(providers)
    exacto = make_exacto().attach(router)
    either.ask(router, "kimi:floor")
    eventually(judged(exacto, either, "kimi"), {"cheap": (1, 0)})
    assert first._runtime.timer.loop_thread._thread is None


def test_a_fault_leaves_litellms_choice(
    providers: SimulatedProviders, make_exacto: MakeExacto, either: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of ours breaks, the request goes on; but a curated list fails closed."""
    router = make_router(providers)
    exacto = make_exacto(curated={"kimi": ["dear"]}).attach(router)
    for name in ("select_pool", "filter", "record_attempt"):
        with monkeypatch.context() as broken:
            broken.setattr(exacto._callback.routing, name, None)
            assert either.ask(router, "kimi") in KIMI
            if name == "filter":
                with pytest.raises(ExactoRefusedError):
                    either.ask(router, "kimi:exacto")
    with monkeypatch.context() as broken:
        broken.setattr(exacto._runtime.engine, "record", None)
        assert either.ask(router, "kimi") in KIMI
    assert set(exacto._runtime.context.faults.counts) >= {"order", "filter", "pre_call"}
