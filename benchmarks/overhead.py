"""What the plugin costs one request, in this process: middleware, routing, headers, scoring.

The work on one request is replayed (:mod:`benchmarks.own_request`). Everything runs interleaved in one process with an
A/A control, in processor time, and what counts is the ratio to LiteLLM's own work in the same run: timings on shared
machines are noisy. LiteLLM's own: ``Router.acompletion`` with a mocked answer.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
import orjson

from benchmarks.own_request import GROUP, QUESTION, Harness, OwnRequest, Stages, mocked, router, tools
from exacto_plugin.config.settings import load_settings
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.router_patches import uninstall
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS = 11
LOOPS, FEW = 100, 20


async def timed(action: Callable[[], Awaitable[object]], loops: int = LOOPS) -> float:
    """Microseconds of processor time of one call, mean over ``loops``."""
    started = time.process_time_ns()
    for _ in range(loops):
        await action()
    return (time.process_time_ns() - started) / loops / 1000


def row(name: str, values: list[float], base: float | None = None) -> str:
    """One line: median, interquartile range, ratio."""
    quartiles = statistics.quantiles(values, n=4)
    ratio = f"{quartiles[1] / base:9.3f}" if base else ""
    return f"{name:<46}{quartiles[1]:10.1f}{quartiles[0]:10.1f}{quartiles[2]:10.1f}{ratio}"


async def measure_parts() -> list[str]:
    """Own work of one request with 50 tools, and without any, as shares of LiteLLM's own mocked completion."""
    lines = []
    for count in (50, 0):
        lines += [*await _request_rows(count), ""]
    return lines[:-1]


async def _request_rows(count: int) -> list[str]:
    own, bare = OwnRequest(count, ":exacto"), Harness(count, ":exacto")
    await own.record()
    await bare.record()
    plain = router(4)
    asked: Any = QUESTION

    async def complete() -> object:
        return await plain.acompletion(GROUP, asked, **mocked(count))

    async def parse() -> object:
        return orjson.loads(own.raw)

    actions = {"own": own.run, "own again": own.run, "replay": bare.run, "parse": parse, "A": complete, "A'": complete}
    rows: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(ROUNDS + 1):
        for name, action in actions.items():
            taken = await timed(action, FEW if action is complete else LOOPS)
            if number:
                rows[name].append(taken)
            own.settle()
            bare.settle()
    shares = await _stages(own, bare)
    await own.runtime.timer.aclose()
    await bare.runtime.timer.aclose()
    return _request_table(count, rows, shares)


async def _stages(own: OwnRequest, bare: Harness) -> dict[str, float]:
    """Return the share of each stage in the own work of a request, by timers within it."""
    own.stages, bare.stages = Stages(), Stages()
    for _ in range(ROUNDS):
        for subject in (own, bare):
            await timed(subject.run)
            subject.settle()
    spent = {name: taken - bare.stages.spent[name] for name, taken in own.stages.spent.items()}
    total = sum(spent.values())
    return {name: taken / total for name, taken in spent.items()}


def _request_table(count: int, rows: dict[str, list[float]], shares: dict[str, float]) -> list[str]:
    base = statistics.median(rows["A"])
    replay = statistics.median(rows["replay"])
    mine, again = ([value - replay for value in rows[name]] for name in ("own", "own again"))
    offered = f"{count} tools" if count else "no tools"
    lines = [f"{f'us of processor time per request, {offered}':<46}{'median':>10}{'q1':>10}{'q3':>10}{'ratio':>9}"]
    lines += [
        row("Router.acompletion, mocked (A)", rows["A"], base),
        row("Router.acompletion, mocked (A')", rows["A'"], base),
        row("own work, gross", mine, base),
        row("own work, gross, again", again, base),
    ]
    whole = statistics.median(mine)
    for name, share in shares.items():
        lines.append(f"  of it: {name:<37}{whole * share:10.1f}{'':20}{whole * share / base:9.3f}")
    parse = statistics.median(rows["parse"])
    lines.append(row("parse of the body, in LiteLLM's place", rows["parse"], base))
    lines.append(f"{'own work, net of that parse':<46}{whole - parse:10.1f}{'':20}{(whole - parse) / base:9.3f}")
    return lines


async def measure_routing() -> list[str]:
    """LiteLLM's routing call with and without the plugin, 4 and 64 deployments."""
    lines = [f"{'us per routing call':<46}{'median':>10}{'q1':>10}{'q3':>10}{'ratio':>9}"]
    for count in (4, 64):
        for strategy in ("simple-shuffle", "latency-based-routing"):
            lines += await _routing_rows(count, strategy)
    return lines


async def _routing_rows(count: int, strategy: str) -> list[str]:
    subject = router(count)
    subject.routing_strategy = strategy
    if strategy != "simple-shuffle":
        subject.routing_strategy_init(routing_strategy=strategy, routing_strategy_args={})
    runtime = Runtime(load_settings(None))
    callback = ExactoCallback(runtime)
    runtime.routers.add(subject)
    _teach(runtime, count)
    offered = tools(5)

    async def pick() -> object:
        kwargs = {"metadata": {"model_group": "kimi"}, "tools": offered}
        return await subject.async_get_available_deployment("kimi", kwargs, [{"role": "user", "content": "x"}])

    async def with_plugin() -> object:
        CURRENT.set(None)
        return await pick()

    before = list(litellm.callbacks)
    rows: dict[str, list[float]] = {"A": [], "A'": [], "B": []}
    for number in range(ROUNDS + 1):
        for name in rows:
            if name == "B":
                litellm.callbacks = [*before, callback]
                install_patches(callback)
            taken = await timed(with_plugin if name == "B" else pick, 100)
            if name == "B":
                uninstall()
                litellm.callbacks = before
            if number:
                rows[name].append(taken)
    await runtime.timer.aclose()
    base = statistics.median(rows["A"])
    label = f"{count} deployments, {strategy}"
    return [
        row(f"{label}: bare", rows["A"], base),
        row(f"{label}: bare again", rows["A'"], base),
        row(f"{label}: plugin", rows["B"], base),
    ]


def _teach(runtime: Runtime, count: int) -> None:
    """Verdicts on every deployment, a third of them deranked, so that the pool is really narrowed."""
    from exacto_plugin.core.model import Outcome, Sample

    now = time.time()
    for number in range(count):
        for answer in range(220):
            bad = number % 3 == 0 and answer % 4 == 0
            outcome = Outcome.SCHEMA_MISMATCH if bad else Outcome.VALID
            runtime.engine.record(Sample("kimi", DeploymentKey(f"d{number}"), now, tools_offered=True, outcome=outcome))
    runtime.engine.observe_peers("kimi", [DeploymentKey(f"d{number}") for number in range(count)], now)
    runtime.engine.recompute(now)


def main() -> list[str]:
    """All tables."""
    return [*asyncio.run(measure_parts()), "", *asyncio.run(measure_routing())]


if __name__ == "__main__":
    import sys

    sys.stdout.write("\n".join(main()) + "\n")
