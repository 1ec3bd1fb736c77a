"""One process's plugin: its timer survives loops and faults, its routers are the live ones, its memory is bounded."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import (
    Blame,
    Candidate,
    DeploymentKey,
    Flaw,
    LiteLLMId,
    Outcome,
    Reason,
    ReasonCode,
    Sample,
    Snapshot,
)
from exacto_plugin.core.scoring.attribution import Attribution
from exacto_plugin.errors import SettingsError
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from tests.support.runtimes import NOW, record, router, settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exacto_plugin.core.model import Transition


class Counting(Runtime):
    """Tells when it has recomputed."""

    def __init__(self, reload_settings: Callable[[], Settings | None] = lambda: None) -> None:
        super().__init__(settings(), clock=lambda: NOW, reload_settings=reload_settings)
        self._recompute = self.recomputer.recompute
        self.recomputer.recompute = self.recompute  # type: ignore[method-assign]
        self.times = 0
        self.again = asyncio.Event()
        self.failing = False

    async def recompute(self) -> bool:
        """Recompute, or fail."""
        self.times += 1
        self.again.set()
        if self.failing:
            raise RuntimeError("this recompute failed")
        return await self._recompute()

    async def until(self, times: int) -> None:
        """Wait for as many recomputes."""
        async with asyncio.timeout(30):
            while self.times < times:
                self.again = asyncio.Event()  # of the running loop
                await self.again.wait()


def timers() -> int:
    """How many timers the running loop has."""
    return sum(task.get_name() == "exacto-recompute" for task in asyncio.all_tasks())


async def test_a_deployment_that_answers_during_a_recompute_keeps_its_provider() -> None:
    """Whatever the recompute has read of a direct call already, when its first answer is counted."""
    sample = Sample("direct", DeploymentKey("a"), NOW, tools_offered=True, outcome=Outcome.VALID)
    found: list[str | None] = []
    done = False
    while not done:
        runtime = Runtime(settings(), clock=lambda: NOW)
        record(runtime, "b", "other")
        recompute = asyncio.create_task(runtime.recomputer.recompute())
        runtime.samples.record_direct_call(sample)
        for _ in found:
            await asyncio.sleep(0)
        done = recompute.done()
        record(runtime, "a", "direct")
        await recompute
        found.append(runtime.providers.by_deployment.get("a"))
        await runtime.recomputer.recompute()
        assert runtime.providers.by_deployment.get("a") == "provider-a"
    assert len(found) > 3
    assert set(found) == {"provider-a"}


# --- the timer --------------------------------------------------------------------------------------------------------


async def test_there_is_one_timer() -> None:
    """Starting what runs already changes nothing, and closing ends it."""
    runtime = Counting()
    for _ in range(3):
        runtime.timer.ensure_started()
        await runtime.until(runtime.times + 1)
        assert timers() == 1
    await runtime.timer.aclose()
    assert timers() == 0


async def test_closing_ends_a_timer_in_a_thread_too() -> None:
    """A program's timer runs on a loop of its own; whoever closes the plugin is on another one."""
    others = set(threading.enumerate())  # programs of other tests may have left theirs

    def own() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread not in others]

    runtime = Counting()
    runtime.timer.ensure_ticking()
    assert "exacto-recompute" in own()
    await runtime.timer.aclose()
    assert "exacto-recompute" not in own()


def test_nothing_is_started_by_what_comes_after_the_end(tmp_path: Path) -> None:
    """Late events start no timer any more; what waited for the log of outcomes is written."""
    given = Settings.model_validate({"store": {"outcomes": str(tmp_path)}})
    runtime = Runtime(given, clock=lambda: NOW, logs_samples=True)

    async def end() -> None:
        runtime.timer.ensure_started()
        record(runtime, "a")
        await runtime.shutdown.shut_down()
        runtime.timer.ensure_ticking()
        runtime.timer.ensure_started()
        assert timers() == 0

    asyncio.run(end())
    assert runtime.context.faults.counts == {}
    (file,) = tmp_path.glob("outcomes-*.jsonl")
    assert '"a"' in file.read_text()


def test_without_a_loop_nothing_starts() -> None:
    """At import there may be no loop yet; the first request starts the timer then."""
    runtime = Counting()
    runtime.timer.ensure_started()
    assert runtime.times == 0


def test_the_timer_comes_back_on_another_loop() -> None:
    """Programs that run one loop after the other have a timer in each."""
    runtime = Counting()

    async def serve() -> None:
        runtime.timer.ensure_started()
        await runtime.until(runtime.times + 2)

    for _ in range(3):
        asyncio.run(serve())
    assert runtime.times >= 6


@pytest.mark.parametrize("closed", [True, False])
def test_a_loop_that_stands_still_keeps_no_timer(closed: bool) -> None:
    """A loop that was left, closed or not, with the timer in it does not keep the next one from having its own."""
    runtime = Counting()

    async def start() -> None:
        runtime.timer.ensure_started()

    async def serve() -> None:
        runtime.timer.ensure_started()
        await runtime.until(2)
        await runtime.timer.aclose()

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
    runtime.context.telemetry.recomputed = None  # type: ignore[method-assign,assignment]
    runtime.timer.ensure_started()
    await runtime.until(3)
    runtime.failing = False
    before = runtime.engine.snapshot
    await runtime.until(runtime.times + 2)
    assert runtime.engine.snapshot is not before
    await runtime.timer.aclose()
    assert runtime.context.faults.counts["recompute"] >= 2
    assert runtime.context.faults.counts["telemetry"] >= 2
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
    evaluator = runtime.context.evaluator
    await runtime.recomputer.recompute()
    assert runtime.context.settings is changed
    assert runtime.engine.rule == changed.rule()
    assert runtime.context.evaluator is not evaluator
    assert runtime.context.evaluator.engine_name == "jsonschema"
    again = runtime.context.evaluator
    await runtime.recomputer.recompute()
    assert runtime.context.evaluator is again


async def test_settings_that_cannot_be_used_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A broken file is told, with its message, and what was in force stays; verdicts go on."""

    def reload_settings() -> Settings | None:
        raise SettingsError("exacto.yaml: mode: got 'x', expected apply, observe or off")

    runtime = Runtime(settings(), clock=lambda: NOW, reload_settings=reload_settings)
    before, snapshot = runtime.context.settings, runtime.engine.snapshot
    await runtime.recomputer.recompute()
    assert runtime.context.settings is before
    assert runtime.engine.snapshot is not snapshot
    assert runtime.settings_reload.view()["problem"] == "exacto.yaml: mode: got 'x', expected apply, observe or off"
    assert "mode: got 'x'" in caplog.text


async def test_a_common_cause_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Once each; one that was over before this process looked is not told."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    kept = router("g")  # routers are referenced weakly
    runtime.routers.add(kept)
    for key in "ab":
        record(runtime, key)
    await runtime.recomputer.recompute()
    begun = Reason(ReasonCode.COMMON_CAUSE, value=0.14, peers=8, begin=0.0)
    over = replace(begun, end=1500.0)
    later = replace(begun, begin=7200.0)
    for cause in (over, later, later, replace(later, end=9000.0), replace(later, end=9000.0)):
        group = replace(runtime.engine.measured.groups["g"], common_cause=cause)
        runtime.engine.adopt(Snapshot("s", NOW, {"g": group}), {})
        runtime.recomputer.announce(runtime.engine)
    told = [record.getMessage() for record in caplog.records if "common cause" in record.getMessage()]
    assert [line.split("points ")[1].split(":")[0] for line in told] == ["since 02", "between 02"]
    assert "since 02:00 UTC" in told[0]
    assert "between 02:00 UTC and 02:30 UTC" in told[1]
    assert all(line.startswith("g: the failure rate of all 8 deployments") for line in told)


# --- routers ----------------------------------------------------------------------------------------------------------


async def test_the_proxys_router_can_be_replaced() -> None:
    """Peers are the deployments of the router that serves now, whatever requests on the old one are still under way."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    old, new = router("g", "gone"), router("g", "fresh", keys="bc")
    current = [old]
    runtime.routers.set_source(lambda: current[0])
    for key in "abc":
        record(runtime, key)
    await runtime.recomputer.recompute()
    assert set(runtime.engine.snapshot.groups["g"].verdicts) == {"a", "b"}
    current[0] = new
    runtime.routers.add(old)  # by a retry that is still under way on it
    await runtime.recomputer.recompute()
    assert set(runtime.engine.snapshot.groups["g"].verdicts) == {"b", "c"}
    assert [runtime.routers.knows_group(name) for name in ("g", "fresh", "gone")] == [True, True, False]
    current.clear()
    current.append(None)  # type: ignore[arg-type]
    assert runtime.routers.deployments_of("g") == []
    await runtime.recomputer.recompute()


class Attached:
    """What counts as a router here; LiteLLM itself keeps its own alive."""


def test_routers_are_not_kept_alive() -> None:
    """Of routers that a program attaches, the newest comes first, and one that it drops is gone."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    first, second = Attached(), Attached()
    for one in (None, first, second, first):
        runtime.routers.add(one)
    assert list(runtime.routers.live) == [second, first]
    del second
    gc.collect()
    assert list(runtime.routers.live) == [first]


def test_each_router_is_prepared_once() -> None:
    """Configured fallbacks get their suffixes' meaning on first sight; a router that LiteLLM replaced is seen anew."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    current: list[Any] = [None]
    runtime.routers.set_source(lambda: current[0])
    for _ in range(2):
        current[0] = router("g", "h", fallbacks=[{"g": ["h:exacto"]}])
        runtime.routers.register(current[0])
        prepared = current[0].fallbacks
        assert prepared == [{"g": [{"model": "h", SUFFIXES_KEY: "exacto"}]}]
        runtime.routers.register(current[0])
        assert current[0].fallbacks is prepared
    runtime.routers.register(None)


def test_a_router_that_cannot_be_prepared_is_not_tried_by_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault on first sight is one fault, not one per request; the next recompute tries again."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    tried = []

    def fail(given: Any) -> None:
        tried.append(given)
        raise RuntimeError

    monkeypatch.setattr(runtime.routers, "prepare", fail)
    one = router("g")
    for _ in range(5):
        runtime.context.faults.guard("router", lambda: runtime.routers.register(one), None)
    assert tried == [one]
    asyncio.run(runtime.recomputer.recompute())
    assert tried == [one, one]
    assert runtime.context.faults.counts == {"router": 2}


# --- memory and transitions -------------------------------------------------------------------------------------------


async def test_what_callers_make_up_is_forgotten() -> None:
    """Deployments under names that a caller invented go with the next recompute."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    one = router("g")
    runtime.routers.add(one)
    record(runtime, "a")
    for number in range(300):
        record(runtime, f"made-up-{number}", f"group-{number}")
    await runtime.recomputer.recompute()
    assert runtime.providers.by_deployment == {"a": "provider-a", "b": "provider-b"}
    assert set(runtime.engine.snapshot.groups) == {"g"}


async def test_changes_of_tier_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A change is one line and one count, also when the recompute after it comes to nothing."""
    runtime = Runtime(settings(), clock=lambda: NOW)
    one = router("g")
    runtime.routers.add(one)
    for key in "aabb":
        record(runtime, key)
    told: list[tuple[str, str]] = []

    def tell(change: Transition) -> None:
        told.append((change.deployment, change.tier))

    runtime.context.telemetry.transition = tell  # type: ignore[method-assign,assignment]
    with caplog.at_level(logging.INFO):
        await runtime.recomputer.recompute()
        assert sorted(told) == [("a", "verified_good"), ("b", "verified_good")]
        overtaken = asyncio.ensure_future(runtime.recomputer.recompute())
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
    runtime.routers.add(live)
    record(runtime, "a")
    runtime.samples.note_flaws(
        Attribution((Flaw.INVALID_JSON,), Blame.PROVIDER),
        "g",
        Candidate(LiteLLMId("a"), DeploymentKey("a"), "provider-a"),
    )
    common = Engine(runtime.context.settings.rule(), timer=lambda: NOW)
    assert await runtime.roster_sync.recompute(common)
    assert runtime.samples.flaws.of("g", "a") == {Flaw.INVALID_JSON: 1}
    assert runtime.providers.by_deployment == {"a": "provider-a", "b": "provider-b"}
    assert set(common.measured.groups["g"].verdicts) == {"a", "b"}
    live.set_model_list([])
    assert await runtime.roster_sync.recompute(common)
    assert runtime.samples.flaws.of("g", "a") == {}
