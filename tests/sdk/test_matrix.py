"""Every way to ask a router of a program, times every way to answer: verdict, blame and routing.

All cells are asked at once, each in a model group of its own, and looked at when everything has been counted.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import litellm
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from exacto_plugin import Exacto
from exacto_plugin.telemetry import Telemetry
from tests.support.proxy.answer_cases import WAYS, Way
from tests.support.proxy.answer_matrix import (
    ARGUMENTS,
    CONTENT,
    MODES,
    Cell,
    Column,
    evidence,
    pair,
    right_counts,
    right_way,
)
from tests.support.proxy.observation import PATIENCE_S
from tests.support.proxy.openai_client import asked
from tests.support.proxy.questions import TOOLS
from tests.support.proxy.surfaces import CHAT, FUNCTIONS, INPUTS, MESSAGES, RESPONSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from exacto_plugin.demo.provider import SimulatedProviders


@dataclass(frozen=True)
class Form:
    """One method of a router."""

    method: str
    column: Column
    tools: tuple[Any, ...] = tuple(TOOLS)
    input: str = "messages"
    more: tuple[tuple[str, Any], ...] = ()

    @property
    def sync(self) -> bool:
        """Whether it is not awaited."""
        return not self.method.startswith("a")


FORMS: Final = {
    "async": Form("acompletion", Column(CHAT)),
    "sync": Form("completion", Column(CHAT)),
    "responses": Form("aresponses", Column(RESPONSES, responses=True), tuple(FUNCTIONS), "input"),
    # LiteLLM's synchronous form of this makes one attempt, whatever ``num_retries`` says.
    "sync-responses": Form("responses", Column(RESPONSES, responses=True, retries=False), tuple(FUNCTIONS), "input"),
    "messages": Form(
        "aanthropic_messages", Column(MESSAGES, responses=True), tuple(INPUTS), more=(("max_tokens", 500),)
    ),
    "native": Form("aanthropic_messages", Column(MESSAGES, native=True), tuple(INPUTS), more=(("max_tokens", 500),)),
}


def _right(form: Form, way: Way, *, stream: bool) -> Way:
    if way.leaves:  # LiteLLM tells nobody of an answer that a program did not read to its end
        return replace(way, outcome="", call="", flaw="", blame="", evidence=(0, 0))
    return right_way(form.column, way, stream=stream)


def _cells() -> Iterator[tuple[Form, Cell]]:
    for name, form in FORMS.items():
        for mode, stream in MODES.items():
            for way in WAYS:
                if not (way.leaves and form.sync and not stream):  # who waits for a whole answer cannot leave
                    right = _right(form, way, stream=stream)
                    yield form, Cell(f"{name}-{mode}-{way.name}", form.column, stream, right)


FORM_OF: Final = {cell.name: form for form, cell in _cells()}
CELLS: Final = {cell.name: cell for _, cell in _cells()}


# --- asking -----------------------------------------------------------------------------------------------------------


def _given(form: Form, cell: Cell) -> dict[str, Any]:
    question = f"What is the weather in Lisbon, {cell.name}?"
    said: Any = question if form.input == "input" else [{"role": "user", "content": question}]
    return {"model": cell.name, form.input: said, "tools": list(form.tools), "stream": cell.stream, **dict(form.more)}


def _ask_sync(router: litellm.Router, form: Form, cell: Cell) -> str:
    answer = getattr(router, form.method)(**_given(form, cell))
    if not cell.stream:
        return str(answer)
    said = ""
    for event in answer:
        said += str(event)
        if cell.way.leaves:
            break
    return said


async def _ask(router: litellm.Router, form: Form, cell: Cell, requests: Callable[[], int]) -> str:
    asking = getattr(router, form.method)(**_given(form, cell))
    if cell.way.leaves and not cell.stream:
        waiting = asyncio.ensure_future(asking)
        async with asyncio.timeout(PATIENCE_S):
            while not await asyncio.to_thread(requests):  # noqa: ASYNC110 -- no event to await
                await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return ""
    answer = await asking
    if not cell.stream:
        return str(answer)
    said = ""
    async for event in answer:
        said += str(event)
        if cell.way.leaves:
            break
    return said


# --- what is counted --------------------------------------------------------------------------------------------------


_NAMES: Final = {
    "exacto.tool_call.evaluations": ("exacto.deployment.id", "exacto.tool_call.outcome"),
    "exacto.answer.flaws": ("exacto.answer.flaw", "exacto.blame"),
    "exacto.deployment.flaws": ("exacto.deployment.id", "exacto.blame"),
    "exacto.deployment.attempts": ("exacto.tier", "error.type"),
}


def _counted(reader: InMemoryMetricReader) -> tuple[dict[str, Any], Counter[str]]:
    """As :func:`tests.support.proxy.answer_matrix.counted`, from the process's own metrics."""
    groups: dict[str, Any] = {}
    requests: Counter[str] = Counter()
    data = reader.get_metrics_data()
    scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
    for metric in (metric for scope in scopes for metric in scope.metrics):
        for point in metric.data.data_points:
            labels: Mapping[str, Any] = point.attributes or {}
            if metric.name == "exacto.requests":
                requests[str(labels["exacto.request.outcome"])] += int(point.value)  # type: ignore[union-attr]
            if metric.name in _NAMES:
                name = f"{metric.name.replace('.', '_')}_total"
                found = groups.setdefault(str(labels["exacto.model_group"]), {}).setdefault(name, {})
                found[tuple(str(labels.get(label, "")) for label in _NAMES[metric.name])] = point.value  # type: ignore[union-attr]
    return groups, requests


ATTEMPTS: Final = "exacto_deployment_attempts_total"


def _right_counts(name: str) -> dict[str, Any]:
    return {metric: counts for metric, counts in right_counts(CELLS[name]).items() if counts}


def _all_counted(reader: InMemoryMetricReader) -> bool:
    counts, _ = _counted(reader)
    return all(counts.get(name, {}) == _right_counts(name) for name, cell in CELLS.items() if not cell.way.leaves)


@dataclass(frozen=True)
class Seen:
    """Everything that can be known after all cells were asked."""

    heard: Mapping[str, Any]
    counts: Mapping[str, Any]
    requests: Counter[str]
    verdicts: Mapping[str, Any]
    asked: Mapping[str, int]
    faults: Mapping[str, int]


@pytest.fixture(scope="module")
def seen(provider_server: SimulatedProviders, loop: asyncio.Runner) -> Iterator[Seen]:
    """Ask every cell once, and wait until all that must be counted is, or until it is too late."""
    control = provider_server.control
    control.reset()
    for cell in CELLS.values():
        well = {"arguments": ARGUMENTS, "content": CONTENT}
        control.behave(cell.first, always=cell.way.act, latency_s=cell.way.latency_s, **well)
        control.behave(cell.spare, **well)
    entries = [one for cell in CELLS.values() for one in pair(provider_server, cell)]
    router = litellm.Router(model_list=entries, num_retries=1, disable_cooldowns=True)
    reader = InMemoryMetricReader()
    with Exacto({"exploration": {"share": 0}}) as exacto:
        exacto._runtime.context.telemetry = Telemetry(exacto._runtime.metrics, MeterProvider([reader]))
        exacto.attach(router)
        yield _seen(router, exacto, reader, provider_server, loop)
    gc.collect()


def _seen(
    router: litellm.Router,
    exacto: Exacto,
    reader: InMemoryMetricReader,
    providers: SimulatedProviders,
    loop: asyncio.Runner,
) -> Seen:
    async def everything() -> dict[str, Any]:
        names = list(CELLS)
        with ThreadPoolExecutor(8) as pool:
            running = asyncio.get_running_loop()
            asking = [
                running.run_in_executor(pool, _ask_sync, router, FORM_OF[name], CELLS[name])
                if FORM_OF[name].sync
                else _ask(router, FORM_OF[name], CELLS[name], partial(providers.control.requests, CELLS[name].first))
                for name in names
            ]
            heard = await asyncio.gather(*asking, return_exceptions=True)
        return dict(zip(names, heard, strict=True))

    heard = loop.run(everything())
    ends = time.monotonic() + PATIENCE_S
    while not _all_counted(reader) and time.monotonic() < ends:
        loop.run(asyncio.sleep(0.1))
    counts, requests = _counted(reader)
    exacto.recompute()
    verdicts = {one["deployment"]: one for group in exacto.tiers()["model_groups"] for one in group["deployments"]}
    names = [name for cell in CELLS.values() for name in (cell.first, cell.spare)]
    return Seen(heard, counts, requests, verdicts, asked(providers, names), exacto._runtime.context.faults.counts)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell(seen: Seen, name: str) -> None:
    """One answer counts once, as what it is, for who gave it; a failed attempt is followed by another deployment."""
    cell = CELLS[name]
    way, heard = cell.way, seen.heard[name]
    if cell.fails:
        assert getattr(heard, "status_code", None) == way.act
    else:
        assert isinstance(heard, str), heard
        assert cell.says is None or not cell.says.startswith("{") or "Lisbon" in heard
    assert (seen.asked[cell.first], seen.asked[cell.spare]) == (1, int(cell.served == cell.spare))
    counts = dict(seen.counts.get(name, {}))
    if way.leaves:  # of Messages LiteLLM tells after all, as soon as the provider has ended
        counts.pop(ATTEMPTS, None)
    assert counts == _right_counts(name)
    assert evidence(seen.verdicts, cell.served) == ((0, 0) if cell.fails else way.evidence)
    known = seen.verdicts.get(cell.served)
    assert known is None or known["flaws"] == ({way.flaw: 1} if way.flaw else {})


def test_requests_are_counted_by_outcome(seen: Seen) -> None:
    """Every request counts once, as what became of it, and nothing of ours failed."""
    outcomes = Counter(cell.way.outcome for cell in CELLS.values() if cell.way.outcome and not cell.fails)
    assert not outcomes - seen.requests
    assert set(seen.requests - outcomes) <= {"cut_short"}  # see above
    assert seen.faults == {}
