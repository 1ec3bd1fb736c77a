"""What the plugin costs one tool request, in this process: middleware, decision, headers, scoring.

Everything runs interleaved in one process with an A/A control, in processor time, and what counts is the ratio to
LiteLLM's own work in the same run: timings on shared machines are noisy. LiteLLM's own: ``Router.acompletion`` with a
mocked answer.
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

from exacto_plugin.config.settings import load_settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Tier
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.proxy import middleware_of
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.state import CURRENT, LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.router_patches import uninstall
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS = 11
LOOPS = 100


def tools(count: int) -> list[dict[str, Any]]:
    """``count`` tools of about 0.7 kB."""
    properties = {f"field_{i}": {"type": "string", "description": "Some words about the field."} for i in range(8)}
    parameters = {"type": "object", "properties": properties, "required": ["field_0", "field_1"]}
    return [{"type": "function", "function": {"name": f"tool_{i}", "parameters": parameters}} for i in range(count)]


def router(deployments: int) -> litellm.Router:
    """A router with one model group and a mocked answer."""
    entries = [
        {
            "model_name": "kimi",
            "litellm_params": {"model": "openai/kimi", "api_key": "x", "api_base": f"http://h{i}.invalid/v1"},
            "model_info": {"id": f"d{i}"},
        }
        for i in range(deployments)
    ]
    return litellm.Router(model_list=entries)


async def timed(action: Callable[[], Awaitable[object]], loops: int = LOOPS) -> float:
    """Microseconds of processor time of one call, mean over ``loops``."""
    started = time.process_time_ns()
    for _ in range(loops):
        await action()
    return (time.process_time_ns() - started) / loops / 1000


async def interleaved(
    actions: dict[str, Callable[[], Awaitable[object]]], loops: int = LOOPS
) -> dict[str, list[float]]:
    """Every action once a round, in turns, so that noise hits all alike; the first round is dropped."""
    rows: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(ROUNDS + 1):
        for name, action in actions.items():
            taken = await timed(action, loops)
            if number:
                rows[name].append(taken)
    return rows


def row(name: str, values: list[float], base: float | None = None) -> str:
    """One line: median, interquartile range, ratio."""
    quartiles = statistics.quantiles(values, n=4)
    ratio = f"{quartiles[1] / base:9.3f}" if base else ""
    return f"{name:<46}{quartiles[1]:10.1f}{quartiles[0]:10.1f}{quartiles[2]:10.1f}{ratio}"


def body(count: int) -> bytes:
    """The JSON body of a request that offers ``count`` tools."""
    message = {"role": "user", "content": "Please book it. " * 20}
    return orjson.dumps({"model": "kimi:exacto", "messages": [message], "tools": tools(count)})


class Parts:
    """The steps of one request, each callable by itself."""

    def __init__(self, count: int) -> None:
        self.runtime = Runtime(load_settings(None))
        self.callback = ExactoCallback(self.runtime)
        self.router = router(4)
        self.runtime.routers.add(self.router)
        self.raw = body(count)
        self.tools = tools(count)
        self.kwargs = {"tools": self.tools, "metadata": {"model_group": "kimi"}, "model_info": {"id": "d0"}}
        self.response = litellm.mock_completion(
            model="kimi",
            messages=[],
            mock_tool_calls=[
                {
                    "id": "c",
                    "type": "function",
                    "function": {"name": f"tool_{count - 1}", "arguments": '{"field_0": "a", "field_1": "b"}'},
                }
            ],
        )
        candidate = Candidate(LiteLLMId("d0"), DeploymentKey("d0"), "openai")
        self.state = RequestState(model_group="kimi", attempts=[Attempt(candidate, "kimi", Tier.VERIFIED_GOOD)])
        self.middleware = middleware_of(self.runtime, lambda: self.router)(self._app)
        self.bare = self._bare_app

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["parsed_body"]  # LiteLLM takes it from there and does not read the body
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _bare_app(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        orjson.loads(message["body"])  # what LiteLLM does itself when nothing was handed over
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def _io(self) -> tuple[dict[str, Any], Any, Any]:
        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
        scope["headers"] = [(b"content-type", b"application/json")]

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self.raw, "more_body": False}

        async def send(_: Any) -> None:
            return None

        return scope, receive, send

    async def run_middleware(self) -> None:
        """Parse, strip, hand over, headers."""
        await self.middleware(*self._io())

    async def run_bare(self) -> None:
        """The parse that the middleware saves LiteLLM."""
        await self.bare(*self._io())

    async def run_decision(self) -> None:
        """Hard filters, tiers, what was picked, our keys out."""
        CURRENT.set(None)
        kwargs = dict(self.kwargs)
        kept = await self.callback.async_filter_deployments("kimi", self.router.model_list, None, kwargs)
        self.callback.routing.select_pool(self.router, kept, kwargs)
        await self.callback.async_pre_call_deployment_hook(kwargs, None)

    async def run_scoring(self) -> None:
        """Everything after the answer."""
        import datetime

        now = datetime.datetime.now(tz=datetime.UTC)
        event = {
            "exacto_tools": self.tools,
            LOG_KEY: self.state,
            "litellm_params": {"model_info": {"id": "d0"}},
            "standard_logging_object": {"completion_tokens": 120, "model_group": "kimi"},
            "completion_start_time": now,
        }
        await self.callback.async_log_success_event(event, self.response, now, now)


async def measure_parts() -> list[str]:
    """In-process cost of one tool request, 50 tools, beside LiteLLM's own routing and mocked completion."""
    parts = Parts(50)
    plain = router(4)
    asked: Any = [{"role": "user", "content": "x"}]

    async def complete() -> object:
        return await plain.acompletion("kimi", asked, mock_response="ok", tools=parts.tools)

    actions: dict[str, Callable[[], Awaitable[object]]] = {
        "middleware, suffix, 50 tools": parts.run_middleware,
        "LiteLLM's parse that it replaces": parts.run_bare,
        "decision (filter, tiers, pick)": parts.run_decision,
        "scoring (50 tools)": parts.run_scoring,
    }
    rows = await interleaved(actions)
    own = await interleaved(
        {"Router.acompletion, mocked (A)": complete, "Router.acompletion, mocked (A')": complete}, 10
    )
    base = statistics.median(own["Router.acompletion, mocked (A)"])
    middle = {name: statistics.median(values) for name, values in rows.items()}
    total = (
        middle["middleware, suffix, 50 tools"]
        - middle["LiteLLM's parse that it replaces"]
        + middle["decision (filter, tiers, pick)"]
        + middle["scoring (50 tools)"]
    )
    lines = [f"{'us per request':<46}{'median':>10}{'q1':>10}{'q3':>10}{'ratio':>9}"]
    lines += [row(name, values, base) for name, values in {**rows, **own}.items()]
    lines.append(f"{'our own, net of the parse we save':<46}{total:10.1f}{'':20}{total / base:9.3f}")
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
