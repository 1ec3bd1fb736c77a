"""Broken answers delivered with and without rescue, on every surface, whole and streamed, and good answers replaced.

A real ``litellm.Router`` with the plugin asks simulated providers over HTTP. Each of three deployments breaks 5 % of
its answers in one way; the router picks at random, and two more may be asked. In the second table there is one
deployment, which is asked once more (``rescue.same_deployment``). Both are judged by what the client got, not by the
plugin, and by what the providers did: a cell is ``broken answers -> broken ones delivered``, with ``!`` where the
plugin's flaws are not exactly those, each blamed on the provider. The third sends the corpus of odd and good answers
through every surface, and counts flaws and second requests. The last has answers without a usage, which are no reason
to ask again: ``answers without -> found``. LiteLLM estimates the usage of some streams, where none is found.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import litellm
from scipy.stats import binomtest

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import BROKEN
from exacto_plugin.demo.behaviour import Act
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches, uninstall_patches
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.core.model import Sample
    from exacto_plugin.demo.control import ProviderControl

RATE: Final = 0.05
AIM: Final = 0.001
AT_ONCE: Final = 8
SETTLED_S: Final = 10.0  # longest wait for LiteLLM's log events
KINDS: Final = (Act.EMPTY, Act.REASONING_ONLY, Act.CORRUPT, Act.ERROR_BODY, Act.ERROR_TEXT, Act.ERROR_FINISH)
SURFACES: Final = ("chat", "text", "responses", "messages")
PARAMETERS: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Final = {"name": "get_weather", "parameters": PARAMETERS}
CORPUS: Final = Path(__file__).parents[1] / "tests" / "data" / "odd_answers.jsonl"
GOOD: Final = "The capital of France is Paris."


@dataclass(frozen=True)
class Cell:
    """One way of asking."""

    surface: str
    stream: bool
    tools: bool

    def __str__(self) -> str:
        return f"{self.surface} {'streamed' if self.stream else 'whole'}{' tools' if self.tools else ''}"


def cells() -> list[Cell]:
    """All of them; text completions have no tools."""
    every = [Cell(one, stream, tools) for one in SURFACES for stream in (False, True) for tools in (False, True)]
    return [one for one in every if one.surface != "text" or not one.tools]


async def ask(router: litellm.Router, cell: Cell, group: str, question: str, **more: Any) -> str:
    """Return all that the client got, as JSON text; the error's name where it got one."""
    CURRENT.set(None)
    messages: Any = [{"role": "user", "content": question}]
    try:
        if cell.surface == "chat":
            more |= {"tools": [{"type": "function", "function": TOOL}]} if cell.tools else {}
            answer: Any = await router.acompletion(group, messages, stream=cell.stream, **more)
        elif cell.surface == "text":
            answer = await router.atext_completion(group, question, stream=cell.stream, **more)
        elif cell.surface == "responses":
            more |= {"tools": [{"type": "function", **TOOL}]} if cell.tools else {}
            answer = await router.aresponses(input=question, model=group, stream=cell.stream, **more)
        else:
            more |= {"tools": [{"name": TOOL["name"], "input_schema": PARAMETERS}]} if cell.tools else {}
            more = {"max_tokens": 500, **more}
            answer = await router.aanthropic_messages(model=group, messages=messages, stream=cell.stream, **more)
        parts = [part async for part in answer] if cell.stream else [answer]
    except Exception as error:
        return f"error {type(error).__name__}"
    return "\n".join(_text(part) for part in parts)


def _text(part: Any) -> str:
    if isinstance(part, bytes):
        return part.decode()
    plain = part.model_dump(warnings=False) if hasattr(part, "model_dump") else part
    return json.dumps(_without_tools(plain), default=str, ensure_ascii=False)


def _without_tools(value: Any) -> Any:
    """A response repeats the tools of its request, which is no call of one."""
    if isinstance(value, dict):
        return {name: _without_tools(one) for name, one in value.items() if name != "tools"}
    return [_without_tools(one) for one in value] if isinstance(value, list) else value


def is_good(said: str) -> bool:
    """Whether a client can use it: the good text, whole, or the call."""
    marks = (GOOD[:12], "get_weather")
    return any(mark in said for mark in marks) and "\ufffd" not in said and "current quota" not in said


class World:
    """Router, plugin and providers.

    Args:
        base: returns the address of a provider.
        deployments: in each group.
        rescue: its settings.
        seed: of the providers' draws.
    """

    def __init__(self, base: Any, deployments: int, rescue: dict[str, Any], seed: int = 0) -> None:
        self.seed = seed
        block = {"rescue": rescue, "tiers": {"recompute_interval_s": 1e6}, "exploration": {"share": 0}}
        self.callback = ExactoCallback(Runtime(Settings.model_validate(block)))
        self.blamed: Counter[tuple[str, str]] = Counter()
        """Flaws with their blame, of all samples so far."""
        self.samples = 0
        self.callback.runtime.samples.subscribers.append(self._note)
        install_patches(self.callback)
        # LiteLLM copies callbacks into lists of its own, one of each class.
        litellm.logging_callback_manager._reset_all_callbacks()  # type: ignore[no-untyped-call]
        litellm.callbacks = [self.callback]
        self.names = {kind: [f"{kind}-{number}" for number in range(deployments)] for kind in ("openai", "anthropic")}
        entries = [self._entry(kind, name, base(name)) for kind, names in self.names.items() for name in names]
        self.router = litellm.Router(model_list=entries, num_retries=0, disable_cooldowns=True)

    def _note(self, sample: Sample) -> None:
        self.samples += 1
        self.blamed.update((flaw.value, str(sample.blame and sample.blame.value)) for flaw in sample.flaws)

    @staticmethod
    def _entry(kind: str, name: str, base: str) -> dict[str, Any]:
        url = base.removesuffix("/v1") if kind == "anthropic" else base
        params = {"model": f"{kind}/m", "api_base": url, "api_key": "x"}
        return {"model_name": kind, "litellm_params": params, "model_info": {"id": name}}

    async def settle(self, samples: int) -> None:
        """Wait until LiteLLM has logged so many answers in all."""
        for _ in range(round(SETTLED_S / 0.01)):
            if self.samples >= samples:
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """End it."""
        await self.callback.runtime.timer.aclose()
        assert not self.callback.faults.counts, self.callback.faults.counts
        uninstall_patches()


def group_of(cell: Cell) -> str:
    """The group whose providers speak the surface's own form."""
    return "anthropic" if cell.surface == "messages" else "openai"


@dataclass
class Tally:
    """What came of the requests of one run, or of several."""

    requests: int = 0
    acted: int = 0
    """Broken answers of providers."""
    broken: int = 0
    """Broken answers that clients got."""
    replaced: int = 0
    """Requests beyond one for each request and one for each broken answer that was not delivered."""
    misjudged: int = 0
    """Flaws missing, too many, or blamed on another party."""
    found: int = 0
    """Flaws that are right."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        return f"{self.acted} -> {self.broken}{'!' if self.misjudged or self.replaced else ''}"


def flaw_of(cell: Cell, kind: Act) -> str:
    """The name of a broken answer's flaw; text completions have no reasoning."""
    if kind is Act.REASONING_ONLY and cell.surface == "text":
        return Act.EMPTY.value
    return "provider_error" if kind.value.startswith("error_") else kind.value


async def run(world: World, control: ProviderControl, cell: Cell, kind: Act, requests: int, **request: Any) -> Tally:
    """Send requests of one kind to providers that break some of their answers in one way."""
    names = world.names[group_of(cell)]
    for number, name in enumerate(names):
        control.behave(
            name,
            content=GOOD,
            broken_rate=RATE,
            broken_mix={kind.value: 1.0},
            seed=hash_of(cell, kind) + number + 100_000 * world.seed,
        )
    before, blamed, samples = {name: control.state(name) for name in names}, world.blamed.copy(), world.samples
    numbers, broken = iter(range(requests)), 0

    async def work() -> None:
        nonlocal broken
        for number in numbers:
            asking = ask(world.router, cell, group_of(cell), f"What is the capital, no. {number}?", **request)
            said = await asyncio.create_task(asking)
            broken += not is_good(said)  # in a statement of its own: others count while this one waits

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    after = {name: control.state(name) for name in names}
    asked = sum(after[name]["requests"] - before[name]["requests"] for name in names)
    acted = sum(after[name]["acts"].get(kind.value, 0) - before[name]["acts"].get(kind.value, 0) for name in names)
    await world.settle(samples + asked)
    found = world.blamed - blamed
    right = found.pop((flaw_of(cell, kind), "provider"), 0)
    more = asked - requests - (0 if kind is Act.NO_USAGE else acted - broken)
    return Tally(requests, acted, broken, more, found.total() + abs(right - acted), right)


def hash_of(cell: Cell, kind: Act) -> int:
    """A seed of its own for each run."""
    return sum(map(ord, f"{cell}{kind}")) * 10


async def tables(control: ProviderControl, base: Any, most: int, only: int | None, seed: int) -> None:
    """Broken answers with three deployments, and with one."""
    runs = ((3, most, {"max_attempts": 2}), (1, most // 2, {"same_deployment": True}))
    for deployments, requests, rescue in runs:
        if only not in (None, deployments):
            continue
        world = World(base, deployments, {"enabled": True, "streams": True, **rescue}, seed)
        _print(f"{deployments} deployment(s), {requests} requests in each cell, {RATE:.0%} of all answers broken")
        _print(f"{'':24}" + "".join(f"{kind.value:>16}" for kind in KINDS))
        total = Tally()
        for cell in cells():
            row = [await run(world, control, cell, kind, requests) for kind in KINDS]
            total = sum(row, total)
            _print(f"{cell!s:24}" + "".join(f"{one!s:>16}" for one in row))
        _print(_told(total, deployments))
        await world.close()


def _told(total: Tally, deployments: int) -> str:
    """Return the sums of a table in words."""
    # One broken answer after the other: each that was not delivered, and each first one, was asked for again.
    first = (total.acted - total.broken) / total.requests
    aim = AIM if deployments > 1 else first**2
    among = "the square of the first answers' rate" if deployments == 1 else "aim"
    low, high = binomtest(total.broken, total.requests).proportion_ci(method="exact")
    return (
        f"{total.acted} broken answers of providers; {total.broken} delivered in {total.requests} requests: "
        f"{total.broken / total.requests:.3%}, 95 % interval {low:.3%} to {high:.3%} "
        f"({among} {aim:.3%}, without rescue {RATE:.0%})\n"
        f"good answers replaced: {total.replaced} of {total.requests - total.broken}; "
        f"flaws or blames that are wrong: {total.misjudged}\n"
    )


async def missing_usage(control: ProviderControl, base: Any, requests: int) -> None:
    """Answers without a usage: those found, with the provider to blame, and second requests for them."""
    world = World(base, 2, {"enabled": True, "streams": True})
    _print(f"\nanswers without a usage -> found and blamed on the provider, {requests} requests in each cell")
    for cell in cells():
        more = {"stream_options": {"include_usage": True}} if cell.surface == "chat" and cell.stream else {}
        one = await run(world, control, cell, Act.NO_USAGE, requests, **more)
        wrong = one.misjudged - (one.acted - one.found)
        _print(f"{cell!s:24}{one.acted:4} -> {one.found}; asked again {one.replaced}, wrong {wrong}")
    await world.close()


def _print(line: str) -> None:
    """Print at once, so that a run that is cut short leaves its tables."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def odd_answers() -> Iterator[dict[str, Any]]:
    """The corpus, as far as the simulated provider can say it."""
    for line in CORPUS.read_text().splitlines():
        row = json.loads(line)
        if not (row.get("refusal") or row.get("finish") or row.get("begun") or row.get("calls")):
            yield row


async def corpus(control: ProviderControl, base: Any) -> None:
    """Flaws of good answers, and second requests for them."""
    world = World(base, 2, {"enabled": True, "streams": True})
    asked, began = 0, sum(state["requests"] for state in control.states().values())
    for row in odd_answers():
        if not row["text"].strip() and not row.get("request"):
            continue
        for names in world.names.values():
            for name in names:
                control.behave(name, content=row["text"], reasoning=row.get("reasoning", ""), broken_rate=0.0)
        request = row.get("request", {})
        for cell in cells():
            if cell.tools or (request and cell.surface in ("responses", "messages")):
                continue
            await asyncio.create_task(
                ask(world.router, cell, group_of(cell), row.get("asked", "Who was Ada Lovelace?"), **request)
            )
            asked += 1
    more = sum(state["requests"] for state in control.states().values()) - began - asked
    await world.settle(asked)
    broken = {flaw.value for flaw in BROKEN}
    flaws = {name: count for (name, _), count in world.blamed.items() if name in broken}
    await world.close()
    _print(f"odd and good answers: {asked} asked, {world.samples} scored, {more} asked again, flaws {flaws or 'none'}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=130, help="in each cell; half as many with one deployment")
    parser.add_argument("--deployments", type=int, choices=(1, 3), help="only the table with so many")
    parser.add_argument("--seed", type=int, default=0, help="of the providers' draws (default: 0)")
    options = parser.parse_args()
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with SimulatedProviders() as providers:

        async def every() -> None:
            await tables(providers.control, providers.api_base, options.requests, options.deployments, options.seed)
            await corpus(providers.control, providers.api_base)
            await missing_usage(providers.control, providers.api_base, options.requests)

        asyncio.run(every())


if __name__ == "__main__":
    main()
