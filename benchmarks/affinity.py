"""What affinity does to prompt caches and to bad calls: the real engine and a real LiteLLM router, simulated providers.

Conversations of several turns go over HTTP to providers with prompt caches. Two of six break tool calls, and a third
one begins to in the middle. Arms: tiers alone, tiers with affinity, and hard pinning (the first turn by tiers, all
later turns by the deployment's id, whatever becomes of it). Time is the engine's, compressed; every arm gets the same
conversations. A later turn is cached when the provider had all of the turn before in its cache. Bad calls are counted
as what the deployment that served breaks on average at that time, so that luck with single answers does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from benchmarks import affinity_seeds
from benchmarks.conversations import BREAKS, BREAKS_TO, ERRORS, INTERVAL_S, PER_MINUTE, TURNS, Turn, error_rate, turns
from exacto_plugin.config.settings import load_settings
from exacto_plugin.demo.behaviour import Behaviour
from exacto_plugin.demo.prompt_cache import prompt_tokens
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.router_patches import uninstall
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

TOGETHER = 8
"""Requests under way at a time."""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "book",
            "parameters": {"type": "object", "properties": {"seats": {"type": "integer"}}, "required": ["seats"]},
        },
    }
]


@dataclass(slots=True)
class Count:
    """What one arm came to."""

    requests: int = 0
    later: int = 0
    cached: int = 0
    expected_bad: float = 0.0
    moved: int = 0
    places: dict[int, str] = field(default_factory=dict)


def said(turn: Turn) -> list[Any]:
    """Everything said until this turn."""
    first = [
        {"role": "system", "content": f"You book tables in house {turn.conversation}. " * 10},
        {"role": "user", "content": f"A table, please, number {turn.conversation}."},
    ]
    later = [
        {"role": role, "content": f"{role} says {number} of {turn.conversation}"}
        for number in range(turn.number)
        for role in ("assistant", "user")
    ]
    return [*first, *later]


class Arm:
    """One way of routing, from an empty engine to the end of the workload."""

    def __init__(self, providers: SimulatedProviders, *, affinity: bool, pinned: bool) -> None:
        self.now = 0.0
        self._pinned = pinned
        self._providers = providers
        settings = load_settings({"affinity": {"enabled": affinity}})
        self.runtime = Runtime(settings, clock=lambda: self.now)
        self.callback = ExactoCallback(self.runtime)
        self.router = litellm.Router(
            model_list=[
                {
                    "model_name": "kimi",
                    "litellm_params": {"model": "openai/kimi", "api_base": providers.api_base(name), "api_key": "x"},
                    "model_info": {"id": name},
                }
                for name in ERRORS
            ],
            num_retries=0,
            disable_cooldowns=True,
        )
        self.runtime.routers.add(self.router)
        self.runtime.timer.ensure_started = lambda: None  # type: ignore[method-assign] # recomputed in the engine's own time
        self.count = Count()
        self.broken = False

    async def run(self, workload: list[Turn]) -> Count:
        """Send the workload."""
        # LiteLLM takes a second callback of one class for the first one.
        litellm._async_success_callback = []
        litellm.callbacks = [self.callback]
        install_patches(self.callback)
        try:
            due, breaks_at = INTERVAL_S, workload[len(workload) // 2].at
            for batch in _batches(workload):
                self.now = batch[-1].at
                if self.now >= due:
                    await GLOBAL_LOGGING_WORKER.flush()
                    await self.runtime.recomputer.recompute()
                    assert "kimi" in self.runtime.engine.snapshot.groups, "nothing was measured"
                    due += INTERVAL_S
                if not self.broken and self.now >= breaks_at:
                    self.broken = True
                    self._providers.control.behave(BREAKS, error_rate=BREAKS_TO)
                await asyncio.gather(*(asyncio.create_task(self._ask(turn)) for turn in batch))
        finally:
            uninstall()
            litellm.callbacks = []
        return self.count

    async def _ask(self, turn: Turn) -> None:
        count = self.count
        before = count.places.get(turn.conversation)
        model = before if self._pinned and before is not None else "kimi"
        answer: Any = await self.router.acompletion(model=model, messages=said(turn), tools=TOOLS)
        name = answer._hidden_params["model_id"]
        count.requests += 1
        count.expected_bad += error_rate(name, broken=self.broken)
        count.places[turn.conversation] = name
        if turn.number:
            count.later += 1
            count.moved += name != before
            cached = answer.usage.prompt_tokens_details.cached_tokens
            count.cached += cached >= prompt_tokens(said(Turn(0.0, turn.conversation, turn.number - 1)))


def _batches(workload: list[Turn]) -> Iterator[list[Turn]]:
    """Requests that may be under way together: no two of one conversation."""
    batch: list[Turn] = []
    for turn in workload:
        if len(batch) == TOGETHER or any(other.conversation == turn.conversation for other in batch):
            yield batch
            batch = []
        batch.append(turn)
    yield batch


ARMS = {
    "tiers without affinity": {"affinity": False, "pinned": False},
    "tiers with affinity": {"affinity": True, "pinned": False},
    "hard pinning": {"affinity": False, "pinned": True},
}


async def measure(requests: int, per_minute: float, seed: int) -> dict[str, Count]:
    """Every arm over the same workload."""
    workload = turns(requests, per_minute, seed)
    counts = {}
    for name, options in ARMS.items():
        behaviours = {one: Behaviour(error_rate=rate, prompt_cache=True) for one, rate in ERRORS.items()}
        with SimulatedProviders(behaviours) as providers:
            random.seed(seed)
            counts[name] = await Arm(providers, **options).run(workload)
    return counts


def main(arguments: list[str]) -> list[str]:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2500)
    parser.add_argument("--per-minute", type=float, default=PER_MINUTE)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args(arguments)
    runs = [asyncio.run(measure(options.requests, options.per_minute, seed)) for seed in options.seeds]
    lines = [
        f"{options.requests} requests per arm and seed (seeds {options.seeds}), {options.per_minute:g} a minute, "
        f"{TURNS} turns on average; errors {ERRORS}, {BREAKS} breaks to {BREAKS_TO} in the middle",
        f"{'':<26}{'later turns':>12}{'cached':>10}{'moved':>10}{'bad calls':>12}",
    ]
    totals = {name: [run[name] for run in runs] for name in ARMS}
    shares: dict[str, float] = {}
    bad: dict[str, float] = {}
    for name, counts in totals.items():
        later, asked = sum(c.later for c in counts), sum(c.requests for c in counts)
        shares[name] = 100 * sum(c.cached for c in counts) / later
        bad[name] = 100 * sum(c.expected_bad for c in counts) / asked
        moved = 100 * sum(c.moved for c in counts) / later
        lines.append(f"{name:<26}{later:>12}{shares[name]:>9.2f}%{moved:>9.2f}%{bad[name]:>11.3f}%")
    without, with_it, pinning = ARMS
    lines.append(f"cached turns behind hard pinning: {shares[pinning] - shares[with_it]:.2f} points (aim 2)")
    lines.append(
        f"bad calls against tiers without affinity: {bad[with_it] / bad[without] - 1:+.1%} (one run: mostly luck)"
    )
    return [*lines, *affinity_seeds.lines()]


if __name__ == "__main__":
    sys.stdout.write("\n".join(main(sys.argv[1:])) + "\n")
