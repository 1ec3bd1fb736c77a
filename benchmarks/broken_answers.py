"""Broken answers delivered with and without rescue, on every surface, whole and streamed, and good answers replaced.

A real ``litellm.Router`` with the plugin asks simulated providers over HTTP. Each of three deployments breaks 5 % of
its answers in one way; the router picks at random. Without rescue a request gets its own first answer. In
the second table there is one deployment, which is asked once more (``rescue.same_deployment``). The third sends the
corpus of odd and good answers through every surface, and counts flaws and second requests. Judged by what the client
got, not by the plugin.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import litellm

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

    from exacto_plugin.demo.control import ProviderControl

RATE: Final = 0.05
AIM: Final = 0.001
AT_ONCE: Final = 8
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
    return json.dumps(
        part.model_dump(warnings=False) if hasattr(part, "model_dump") else part, default=str, ensure_ascii=False
    )


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
    """

    def __init__(self, base: Any, deployments: int, rescue: dict[str, Any]) -> None:
        block = {"rescue": rescue, "tiers": {"recompute_interval_s": 1e6}, "exploration": {"share": 0}}
        self.callback = ExactoCallback(Runtime(Settings.model_validate(block)))
        install_patches(self.callback)
        litellm.callbacks = [self.callback]
        self.names = {kind: [f"{kind}-{number}" for number in range(deployments)] for kind in ("openai", "anthropic")}
        entries = [self._entry(kind, name, base(name)) for kind, names in self.names.items() for name in names]
        self.router = litellm.Router(model_list=entries, num_retries=0, disable_cooldowns=True)

    @staticmethod
    def _entry(kind: str, name: str, base: str) -> dict[str, Any]:
        url = base.removesuffix("/v1") if kind == "anthropic" else base
        params = {"model": f"{kind}/m", "api_base": url, "api_key": "x"}
        return {"model_name": kind, "litellm_params": params, "model_info": {"id": name}}

    def flaws(self) -> dict[str, int]:
        """The counts so far, without zeros."""
        return {flaw.value: count for flaw, count in self.callback.runtime.samples.flaws.total.items() if count}

    async def close(self) -> None:
        """End it."""
        await self.callback.runtime.timer.aclose()
        assert not self.callback.faults.counts, self.callback.faults.counts
        uninstall_patches()


def group_of(cell: Cell) -> str:
    """The group whose providers speak the surface's own form."""
    return "anthropic" if cell.surface == "messages" else "openai"


async def run(world: World, control: ProviderControl, cell: Cell, kind: Act, requests: int) -> tuple[int, int, int]:
    """Return broken first answers, broken delivered ones, and requests beyond one for each broken one."""
    names = world.names[group_of(cell)]
    for number, name in enumerate(names):
        control.behave(
            name, content=GOOD, broken_rate=RATE, broken_mix={kind.value: 1.0}, seed=hash_of(cell, kind) + number
        )
    before = {name: control.state(name) for name in names}
    numbers, broken = iter(range(requests)), 0

    async def work() -> None:
        nonlocal broken
        for number in numbers:
            asking = ask(world.router, cell, group_of(cell), f"What is the capital, no. {number}?")
            broken += not is_good(await asyncio.create_task(asking))

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    after = {name: control.state(name) for name in names}
    asked = sum(after[name]["requests"] - before[name]["requests"] for name in names)
    acted = sum(after[name]["acts"].get(kind.value, 0) - before[name]["acts"].get(kind.value, 0) for name in names)
    return acted, broken, asked - requests - (acted - broken)


def hash_of(cell: Cell, kind: Act) -> int:
    """A seed of its own for each run."""
    return sum(map(ord, f"{cell}{kind}")) * 10


async def tables(control: ProviderControl, base: Any, requests: int) -> list[str]:
    """Broken answers with two deployments, and with one."""
    lines: list[str] = []
    for deployments, rescue in ((3, {"max_attempts": 2}), (1, {"same_deployment": True})):
        world = World(base, deployments, {"enabled": True, "streams": True, **rescue})
        lines.append(f"{deployments} deployment(s), {requests} requests in each cell, {RATE:.0%} of all answers broken")
        lines.append(f"{'':24}" + "".join(f"{kind.value:>18}" for kind in KINDS))
        total = [0, 0, 0, 0]
        for cell in cells():
            row = []
            for kind in KINDS:
                acted, broken, more = await run(world, control, cell, kind, requests)
                row.append(f"{acted:>9} -> {broken:<5}")
                total = [one + two for one, two in zip(total, (requests, acted, broken, more), strict=True)]
            lines.append(f"{cell!s:24}" + "".join(f"{one:>18}" for one in row))
        asked, acted, broken, more = total
        aim = AIM if deployments > 1 else RATE**2
        lines.append(
            f"all: {acted} broken answers of providers, {broken} delivered in {asked} requests: {broken / asked:.3%} "
            f"(aim {aim:.2%}, without rescue {acted / asked:.2%} or less); requests that replaced a good answer: {more}"
        )
        await asyncio.sleep(0.5)
        lines += [f"flaws counted: {world.flaws()}", ""]
        await world.close()
    return lines


def odd_answers() -> Iterator[dict[str, Any]]:
    """The corpus, as far as the simulated provider can say it."""
    for line in CORPUS.read_text().splitlines():
        row = json.loads(line)
        if not (row.get("refusal") or row.get("finish") or row.get("begun") or row.get("calls")):
            yield row


async def corpus(control: ProviderControl, base: Any) -> list[str]:
    """Flaws of good answers, and second requests for them."""
    world = World(base, 2, {"enabled": True, "streams": True})
    asked, more = 0, 0
    for row in odd_answers():
        if not row["text"].strip() and not row.get("request"):
            continue
        for names in world.names.values():
            for name in names:
                control.behave(name, content=row["text"], reasoning=row.get("reasoning", ""), broken_rate=0.0)
        before = sum(state["requests"] for state in control.states().values())
        request = row.get("request", {})
        for cell in cells():
            if cell.tools or (request and cell.surface in ("responses", "messages")):
                continue
            await asyncio.create_task(
                ask(world.router, cell, group_of(cell), row.get("asked", "Who was Ada Lovelace?"), **request)
            )
            asked += 1
            more -= 1
        more += sum(state["requests"] for state in control.states().values()) - before
    await asyncio.sleep(0.5)
    flaws = {name: count for name, count in world.flaws().items() if name in {flaw.value for flaw in BROKEN}}
    await world.close()
    return [f"odd and good answers: {asked} asked, {more} asked again, flaws {flaws or 'none'}"]


def main(arguments: list[str] | None = None) -> list[str]:
    """The tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400, help="in each cell")
    options = parser.parse_args([] if arguments is None else arguments)
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with SimulatedProviders() as providers:

        async def both() -> list[str]:
            made = await tables(providers.control, providers.api_base, options.requests)
            return made + await corpus(providers.control, providers.api_base)

        return asyncio.run(both())


if __name__ == "__main__":
    sys.stdout.write("\n".join(main(sys.argv[1:])) + "\n")
