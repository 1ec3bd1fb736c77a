"""One process's plugin: its timer survives loops and faults, its routers are the live ones, its memory is bounded."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.core.blame import Attribution
from exacto_plugin.core.model import Blame, Candidate, Flaw, Outcome, Sample
from exacto_plugin.core.shared_engine import SharedEngine
from exacto_plugin.errors import SettingsError
from exacto_plugin.litellm_hooks.body import HOP_KEY
from exacto_plugin.litellm_hooks.identity import candidate_of
from exacto_plugin.litellm_hooks.runtime import Runtime
from exacto_plugin.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.core.model import Transition

NOW = 1_700_000_000.0
SOON_S = 0.001


def settings(**tiers: Any) -> Settings:
    """The published rule, recomputed all the time."""
    numbers = {"tool_call_requests": 2, "throughput_requests": 2}
    block = {"preset": "openrouter", "recompute_interval_s": SOON_S, "openrouter": numbers, **tiers}
    return Settings.model_validate({"tiers": block})


def router(*groups: str, keys: str = "ab", **more: Any) -> litellm.Router:
    """A router whose groups have one deployment per key."""
    params = {"model": "openai/m", "api_base": "http://127.0.0.1:9", "api_key": "sk-secret"}
    entries = [
        {"model_name": group, "litellm_params": params, "model_info": {"id": key, "provider": f"provider-{key}"}}
        for group in groups
        for key in keys
    ]
    return litellm.Router(model_list=entries, **more)


def record(runtime: Runtime, key: str, group: str = "g", outcome: Outcome = Outcome.VALID) -> None:
    """One judged answer."""
    sample = Sample(group, key, NOW, tools_offered=True, outcome=outcome)
    runtime.record(sample, Candidate(key, key, f"provider-{key}"))


class Counting(Runtime):
    """Tells when it has recomputed."""

    def __init__(self, reload_settings: Callable[[], Settings | None] = lambda: None) -> None:
        super().__init__(settings(), clock=lambda: NOW, reload_settings=reload_settings)
        self.times = 0
        self.again = asyncio.Event()
        self.failing = False

    async def recompute(self) -> bool:
        """Recompute, or fail."""
        self.times += 1
        self.again.set()
        if self.failing:
            raise RuntimeError("this recompute failed")
        return await super().recompute()

    async def until(self, times: int) -> None:
        """Wait for as many recomputes."""
        async with asyncio.timeout(30):
            while self.times < times:
                self.again = asyncio.Event()  # of the running loop
                await self.again.wait()


def timers() -> int:
    """How many timers the running loop has."""
    return sum(task.get_name() == "exacto-recompute" for task in asyncio.all_tasks())


# --- the timer --------------------------------------------------------------------------------------------------------


async def test_there_is_one_timer() -> None:
    """Starting what runs already changes nothing, and closing ends it."""
    runtime = Counting()
    for _ in range(3):
        runtime.ensure_started()
        await runtime.until(runtime.times + 1)
        assert timers() == 1
    await runtime.aclose()
    assert timers() == 0


async def test_closing_ends_a_timer_in_a_thread_too() -> None:
    """A program's timer runs on a loop of its own; whoever closes the plugin is on another one."""
    runtime = Counting()
    runtime.ensure_ticking()
    assert any(thread.name == "exacto-recompute" for thread in threading.enumerate())
    await runtime.aclose()
    assert not any(thread.name == "exacto-recompute" for thread in threading.enumerate())


def test_without_a_loop_nothing_starts() -> None:
    """At import there may be no loop yet; the first request starts the timer then."""
    runtime = Counting()
    runtime.ensure_started()
    assert runtime.times == 0


def test_the_timer_comes_back_on_another_loop() -> None:
    """Programs that run one loop after the other have a timer in each."""
    runtime = Counting()

    async def serve() -> None:
        runtime.ensure_started()
        await runtime.until(runtime.times + 2)

    for _ in range(3):
        asyncio.run(serve())
    assert runtime.times >= 6


@pytest.mark.parametrize("closed", [True, False])
def test_a_loop_that_stands_still_keeps_no_timer(closed: bool) -> None:
    """A loop that was left, closed or not, with the timer in it does not keep the next one from having its own."""
    runtime = Counting()

    async def start() -> None:
        runtime.ensure_started()

    async def serve() -> None:
        runtime.ensure_started()
        await runtime.until(2)
        await runtime.aclose()

    left = asyncio.new_event_loop()
    left.run_until_complete(start())
    pending = asyncio.all_tasks(left)
    if closed:
        left.close()
    asyncio.run(serve())
    assert runtime.times >= 2
    if not closed:
        left.run_until_complete(asyncio.wait(pending))  # the old timer sees that it is not the timer any more
        left.close()
    for task in pending:
        task._log_destroy_pending = False  # type: ignore[attr-defined] # the closed loop's task can never end


async def test_the_timer_outlives_faults(caplog: pytest.LogCaptureFixture) -> None:
    """A recompute that fails, and a metric that fails with it, are counted, and the next one comes."""
    runtime = Counting()
    runtime.failing = True
    runtime.telemetry.recomputed = None  # type: ignore[method-assign,assignment]
    runtime.ensure_started()
    await runtime.until(3)
    runtime.failing = False
    before = runtime.engine.snapshot
    await runtime.until(runtime.times + 2)
    assert runtime.engine.snapshot is not before
    await runtime.aclose()
    assert runtime.faults.counts["recompute"] >= 2
    assert runtime.faults.counts["telemetry"] >= 2
    assert len(caplog.records) == 2


# --- settings ---------------------------------------------------------------------------------------------------------


async def test_changed_settings_are_taken_up() -> None:
    """Rule, reading of arguments, engine and interval change with the file, without a restart."""
    changed = Settings.model_validate(
        {
            "mode": "observe",
            "tiers": {"preset": "openrouter", "recompute_interval_s": 77},
            "scoring": {"engine": "jsonschema", "empty_arguments": "empty_object"},
        }
    )
    given = [changed]
    runtime = Runtime(settings(), clock=lambda: NOW, reload_settings=lambda: given.pop() if given else None)
    evaluator = runtime.evaluator
    await runtime.recompute()
    assert runtime.settings is changed
    assert runtime.engine.rule == changed.rule()
    assert runtime.evaluator is not evaluator
    assert runtime.evaluator.engine_name == "jsonschema"
    again = runtime.evaluator
    await runtime.recompute()
    assert runtime.evaluator is again


async def test_settings_that_cannot_be_used_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A broken file is told, with its message, and what was in force stays; verdicts go on."""

    def reload_settings() -> Settings | None:
        raise SettingsError("exacto.yaml: mode: got 'x', expected apply, observe or off")

    runtime = Runtime(settings(), clock=lambda: NOW, reload_settings=reload_settings)
    before, snapshot = runtime.settings, runtime.engine.snapshot
    await runtime.recompute()
    assert runtime.settings is before
    assert runtime.engine.snapshot is not snapshot
    assert runtime.settings_upkeep.view()["problem"] == "exacto.yaml: mode: got 'x', expected apply, observe or off"
    assert "mode: got 'x'" in caplog.text


# --- routers ----------------------------------------------------------------------------------------------------------


async def test_the_proxys_router_can_be_replaced() -> None:
    """Peers are the deployments of the router that serves now, whatever requests on the old one are still under way."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    old, new = router("g", "gone"), router("g", "fresh", keys="bc")
    current = [old]
    runtime.follow(lambda: current[0])
    for key in "abc":
        record(runtime, key)
    await runtime.recompute()
    assert set(runtime.engine.snapshot.groups["g"].verdicts) == {"a", "b"}
    current[0] = new
    runtime.add_router(old)  # by a retry that is still under way on it
    await runtime.recompute()
    assert set(runtime.engine.snapshot.groups["g"].verdicts) == {"b", "c"}
    assert [runtime.knows_group(name) for name in ("g", "fresh", "gone")] == [True, True, False]
    current.clear()
    current.append(None)  # type: ignore[arg-type]
    assert runtime.deployments_of("g") == []
    await runtime.recompute()


class Attached:
    """What counts as a router here; LiteLLM itself keeps its own alive."""


def test_routers_are_not_kept_alive() -> None:
    """Of routers that a program attaches, the newest comes first, and one that it drops is gone."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    first, second = Attached(), Attached()
    for one in (None, first, second, first):
        runtime.add_router(one)
    assert list(runtime.routers) == [second, first]
    del second
    gc.collect()
    assert list(runtime.routers) == [first]


def test_each_router_is_prepared_once() -> None:
    """Configured fallbacks get their suffixes' meaning on first sight; a router that LiteLLM replaced is seen anew."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    current: list[Any] = [None]
    runtime.follow(lambda: current[0])
    for _ in range(2):
        current[0] = router("g", "h", fallbacks=[{"g": ["h:exacto"]}])
        runtime.greet(current[0])
        prepared = current[0].fallbacks
        assert prepared == [{"g": [{"model": "h", HOP_KEY: "exacto"}]}]
        runtime.greet(current[0])
        assert current[0].fallbacks is prepared
    runtime.greet(None)


def test_a_router_that_cannot_be_prepared_is_not_tried_by_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault on first sight is one fault, not one per request; the next recompute tries again."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    tried = []

    def fail(given: Any) -> None:
        tried.append(given)
        raise RuntimeError

    monkeypatch.setattr(runtime, "prepare_router", fail)
    one = router("g")
    for _ in range(5):
        runtime.faults.guarded("router", lambda: runtime.greet(one), None)
    assert tried == [one]
    asyncio.run(runtime.recompute())
    assert tried == [one, one]
    assert runtime.faults.counts == {"router": 2}


# --- what operators declare -------------------------------------------------------------------------------------------


ADAPTIVE = {"preset": "adaptive", "adaptive": {"phi_start": 1.0}}


def limited(*limits: dict[str, Any], **params: Any) -> litellm.Router:
    """A router with the group ``g`` of deployments ``a``, ``b``, ... that have these limits."""
    base = {"model": "openai/m", "api_base": "http://127.0.0.1:9", "api_key": "sk-secret", "weight": 1, **params}
    entries = [
        {"model_name": "g", "litellm_params": {**base, **limit}, "model_info": {"id": key}}
        for key, limit in zip("abc", limits, strict=False)
    ]
    return litellm.Router(model_list=entries)


def serve(runtime: Runtime, tokens: int = 0) -> None:
    """A hundred good calls of ``a`` and ``b``, and as many bad ones of ``c``: 20 requests a minute in all."""
    for key, outcome in (("a", Outcome.VALID), ("b", Outcome.VALID), ("c", Outcome.INVALID_JSON)):
        sample = Sample("g", key, NOW, tools_offered=True, outcome=outcome, input_tokens=tokens)
        for _ in range(100):
            runtime.record(sample, Candidate(key, key))


@pytest.mark.parametrize(
    ("limits", "tokens", "tier"),
    [
        ([{}, {}, {}], 100, "deranked"),
        ([{"rpm": 15}, {"rpm": 15}, {}], 100, "deranked"),
        ([{"rpm": 5}, {"rpm": 5}, {}], 100, "insufficient_data"),
        ([{"rpm": 5}, {}, {}], 100, "deranked"),
        ([{"tpm": 500}, {"tpm": 500}, {}], 100, "insufficient_data"),
        ([{"tpm": 500}, {"tpm": 500}, {}], 10, "deranked"),
        ([{"tpm": 500}, {"tpm": 500}, {}], 0, "deranked"),
        ([{"rpm": 5}, {"rpm": 5}, {"rpm": 0}], 100, "deranked"),
    ],
)
async def test_the_rest_must_be_able_to_carry_the_traffic(limits: list[Any], tokens: int, tier: str) -> None:
    """A bad deployment stays in the pool when the limits of the others are too low for what is asked for."""
    runtime, one = Runtime(settings(**ADAPTIVE), clock=lambda: NOW), limited(*limits)
    runtime.add_router(one)
    serve(runtime, tokens)
    await runtime.recompute()
    verdicts = runtime.engine.snapshot.groups["g"].verdicts
    assert verdicts["c"].tier == tier
    assert (verdicts["c"].reasons[0].code == "capacity") is (tier == "insufficient_data")
    assert verdicts["a"].tier == verdicts["b"].tier == "verified_good"


async def test_weights_decide_when_the_good_ones_cover_the_traffic() -> None:
    """Newcomers with little weight do not keep the tiers merged; with equal weights they do."""
    for weight, merged in ((9, False), (1, True)):
        runtime = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
        one = limited({"weight": weight}, {"weight": weight}, {"weight": 1})
        runtime.add_router(one)
        for key in "ab":
            sample = Sample("g", key, NOW, tools_offered=True, outcome=Outcome.VALID)
            for _ in range(300):
                runtime.record(sample, Candidate(key, key))
        await runtime.recompute()
        assert runtime.engine.snapshot.groups["g"].merge_tiers is merged


async def tier_after(runtime: Runtime, one: litellm.Router, **changes: Any) -> str:
    """Change ``c`` as an operator does at run time, recompute, and tell its tier."""
    known = one.get_deployment("c")
    assert known is not None
    params = {**known.litellm_params.model_dump(exclude_none=True), **changes}
    one.upsert_deployment(litellm.Deployment("g", litellm.LiteLLM_Params(**params), known.model_info))
    await runtime.recompute()
    return runtime.engine.snapshot.groups["g"].verdicts["c"].tier.value


@pytest.mark.parametrize(
    "change",
    [
        {"model": "openai/m-fp8"},
        {"api_base": "http://127.0.0.1:9/other"},
        {"api_base": "http://127.0.0.2:9"},
        {"api_version": "2026-01-01"},
        {"extra_body": {"provider": {"only": ["x"]}}},
    ],
)
async def test_another_deployment_under_the_same_id_starts_anew(change: dict[str, Any]) -> None:
    """Its predecessor's failures are not its own; what only looks like a change leaves the evidence alone."""
    runtime, one = Runtime(settings(**ADAPTIVE), clock=lambda: NOW), limited({}, {}, {})
    runtime.add_router(one)
    serve(runtime)
    assert await tier_after(runtime, one, api_key="sk-first") == "deranked"
    same = {"api_key": "sk-rotated", "rpm": 1000, "order": 3, "timeout": 9, "api_base": "HTTP://127.0.0.1:9/?key=x"}
    assert await tier_after(runtime, one, **same) == "deranked"
    assert await tier_after(runtime, one, **change) == "insufficient_data"


async def test_a_restart_of_the_process_is_no_change() -> None:
    """What was remembered goes on; only what became another deployment meanwhile starts anew."""
    before = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
    attached = limited({}, {}, {})
    before.add_router(attached)
    serve(before)
    await before.recompute()
    for model, tier in (("openai/m", "deranked"), ("openai/other", "insufficient_data")):
        after = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
        after.engine.load(before.engine.dump())
        started = limited({}, {}, {"model": model}, api_key="sk-other")
        after.add_router(started)
        serve(after)
        await after.recompute()
        assert after.engine.snapshot.groups["g"].verdicts["c"].tier == tier


async def test_accounts_of_one_provider_in_any_order_are_one_deployment() -> None:
    """A further key, and another order of the list, leave the evidence of deployments without an id alone."""
    params = {"model": "openai/m", "weight": 1}
    entries = [
        {"model_name": "g", "litellm_params": {**params, "api_base": f"http://{host}:9", "api_key": key}}
        for host, key in (("a", "k1"), ("b", "k2"), ("c", "k3"), ("c", "k4"))
    ]
    current = [litellm.Router(model_list=entries[:3])]
    runtime = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
    runtime.follow(lambda: current[0])
    keys = [candidate_of(one).key for one in current[0].model_list]
    for key, outcome in zip(keys, (Outcome.VALID, Outcome.VALID, Outcome.INVALID_JSON), strict=True):
        for _ in range(100):
            runtime.record(Sample("g", key, NOW, tools_offered=True, outcome=outcome), Candidate(key, key))
    for model_list in (entries[:3], entries, entries[::-1]):
        current[0] = litellm.Router(model_list=model_list)
        await runtime.recompute()
        assert runtime.engine.snapshot.groups["g"].verdicts[keys[2]].tier == "deranked"


async def test_what_cannot_be_read_limits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in reading declarations is counted, and verdicts go on without them."""
    runtime, one = Runtime(settings(**ADAPTIVE), clock=lambda: NOW), limited({"rpm": 1}, {"rpm": 1}, {})
    runtime.add_router(one)
    serve(runtime)
    monkeypatch.setattr("exacto_plugin.litellm_hooks.served.picks_by_weight", None)
    await runtime.recompute()
    assert runtime.engine.snapshot.groups["g"].verdicts["c"].tier == "deranked"
    assert runtime.faults.counts == {"declared": 1}


async def test_wildcards_have_verdicts_per_model() -> None:
    """Deployments behind a pattern are peers of each other under the name that was asked for."""
    params = {"model": "openai/*", "api_key": "k"}
    entries = [
        {"model_name": "w/*", "litellm_params": {**params, "api_base": f"http://{key}:9"}, "model_info": {"id": key}}
        for key in "ab"
    ]
    one = litellm.Router(model_list=entries)
    runtime = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
    runtime.add_router(one)
    healthy = await one.async_get_healthy_deployments("w/m", request_kwargs={}, parent_otel_span=None)
    for deployment, outcome in zip(healthy, (Outcome.VALID, Outcome.INVALID_JSON), strict=True):
        candidate = candidate_of(deployment, "w/m")
        for _ in range(100):
            runtime.record(Sample("w/m", candidate.key, NOW, tools_offered=True, outcome=outcome), candidate)
    await runtime.recompute()
    tiers = {name: verdict.tier.value for name, verdict in runtime.engine.snapshot.groups["w/m"].verdicts.items()}
    assert tiers == {"a:w/m": "verified_good", "b:w/m": "deranked"}


# --- memory and transitions -------------------------------------------------------------------------------------------


async def test_what_callers_make_up_is_forgotten() -> None:
    """Deployments under names that a caller invented go with the next recompute."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    one = router("g")
    runtime.add_router(one)
    record(runtime, "a")
    for number in range(300):
        record(runtime, f"made-up-{number}", f"group-{number}")
    await runtime.recompute()
    assert runtime.providers == {"a": "provider-a", "b": "provider-b"}
    assert set(runtime.engine.snapshot.groups) == {"g"}


async def test_changes_of_tier_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A change is one line and one count, also when the recompute after it comes to nothing."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    one = router("g")
    runtime.add_router(one)
    for key in "aabb":
        record(runtime, key)
    told: list[tuple[str, str]] = []

    def tell(change: Transition) -> None:
        told.append((change.deployment, change.tier))

    runtime.telemetry.transition = tell  # type: ignore[method-assign,assignment]
    with caplog.at_level(logging.INFO):
        await runtime.recompute()
        assert sorted(told) == [("a", "verified_good"), ("b", "verified_good")]
        overtaken = asyncio.ensure_future(runtime.recompute())
        await asyncio.sleep(0)
        runtime.engine.rule = settings().rule()
        await overtaken
    assert len(told) == 2
    assert sorted(record.getMessage() for record in caplog.records) == [
        "g: a is now verified_good (was insufficient_data)",
        "g: b is now verified_good (was insufficient_data)",
    ]


async def test_an_engine_for_everybody_does_not_make_this_process_forget() -> None:
    """What was heard of here lately is told to it as a peer, and keeps its provider and the flaws that were seen."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    live = router("g")
    runtime.add_router(live)
    record(runtime, "a")
    runtime.note_flaws(Attribution((Flaw.INVALID_JSON,), Blame.PROVIDER), "g", Candidate("a", "a", "provider-a"))
    common = SharedEngine(runtime.settings.rule(), timer=lambda: NOW)
    assert await runtime.rosters.recompute(common)
    assert runtime.flaws.of("g", "a") == {Flaw.INVALID_JSON: 1}
    assert runtime.providers == {"a": "provider-a", "b": "provider-b"}
    assert set(common.measured.groups["g"].verdicts) == {"a", "b"}
    live.set_model_list([])
    assert await runtime.rosters.recompute(common)
    assert runtime.flaws.of("g", "a") == {}
