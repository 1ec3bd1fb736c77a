"""What rescue is worth at cold start: bad calls delivered with and without it, on the K2VV table of 2025-11-15.

A real ``litellm.Router`` with the plugin asks simulated providers over HTTP, all rows of the table, each picked as
often as the next, and nothing is recomputed, so that tiers cannot help. The comparison is paired: what a request would
have got without rescue is its own first answer. Both are judged here by ``jsonschema`` alone, not by the plugin.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import litellm
from jsonschema import Draft7Validator
from litellm.integrations.custom_logger import CustomLogger

from exacto_plugin.config.settings import Settings
from exacto_plugin.demo.control import ProviderControl
from exacto_plugin.demo.k2vv import table
from exacto_plugin.litellm_hooks import router_patches
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = 5_000
AT_ONCE = 16
AIMS = {1: 8.0, 2: 50.0}
"""``max_attempts`` to the factor by which bad calls are to fall."""
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}]
ANSWERS: ContextVar[list[Any]] = ContextVar("answers")
"""Every answer that the request at hand got from a deployment, in order."""


class Witness(CustomLogger):
    """Keeps what deployments answered."""

    async def async_post_call_success_deployment_hook(self, request_data: Any, response: Any, call_type: Any) -> None:
        """Keep one answer."""
        ANSWERS.get().append(response)


@dataclass(slots=True)
class Tally:
    """What came of the requests of one run."""

    before: int = 0
    """Bad calls without rescue."""
    after: int = 0
    """Bad calls delivered."""
    worse: int = 0
    """Requests whose first answer was good and whose delivered one was not."""
    answers: int = 0


def good(answer: Any) -> bool:
    """Whether an answer has tool calls, each of an offered tool with arguments that fit."""
    calls = answer.choices[0].message.tool_calls or ()
    return bool(calls) and all(_fits(call.function.name, call.function.arguments) for call in calls)


def _fits(name: str, arguments: str) -> bool:
    try:
        return name == "get_weather" and Draft7Validator(PARAMETERS).is_valid(json.loads(arguments))
    except ValueError:
        return False


def blind(attempts: int) -> float:
    """The factor to expect of asking that many others at random: the table's rates alone decide it."""
    rates = [row.error_rate for row in table()]
    chosen = list(itertools.permutations(rates, attempts + 1))
    return (sum(rates) / len(rates)) / (sum(map(math.prod, chosen)) / len(chosen))


@contextmanager
def _providers() -> Iterator[str]:
    """The simulated providers in a process of their own, as the table has them."""
    server = subprocess.Popen(
        [sys.executable, "-m", "exacto_plugin.demo.provider"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        ends = time.monotonic() + 20
        while True:
            try:
                httpx.get(f"{url}/control", trust_env=False)
                break
            except httpx.TransportError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait()


def _router(url: str) -> litellm.Router:
    entries = [
        {
            "model_name": "kimi",
            "litellm_params": {"model": "openai/kimi", "api_base": f"{url}/p/{row.slug}/v1", "api_key": "x"},
            "model_info": {"id": row.slug},
        }
        for row in table()
    ]
    return litellm.Router(model_list=entries, num_retries=0)


async def _request(router: litellm.Router, number: int, tally: Tally) -> None:
    answers: list[Any] = []
    ANSWERS.set(answers)
    CURRENT.set(None)
    messages: Any = [{"role": "user", "content": f"What is the weather in city {number}?"}]
    delivered = await router.acompletion("kimi", messages, tools=TOOLS)
    was, became = good(answers[0]), good(delivered)
    tally.before += not was
    tally.after += not became
    tally.worse += was and not became
    tally.answers += len(answers)


async def _run(url: str, attempts: int) -> Tally:
    settings = {"rescue": {"enabled": True, "max_attempts": attempts}, "tiers": {"recompute_interval_s": 1e6}}
    callback = ExactoCallback(Runtime(Settings.model_validate(settings)))
    install_patches(callback)
    assert not callback.runtime.context.features.off, callback.runtime.context.features.warnings()
    litellm.callbacks = [Witness(), callback]
    router, tally, numbers = _router(url), Tally(), iter(range(REQUESTS))

    async def work() -> None:
        for number in numbers:
            await asyncio.create_task(_request(router, number, tally))

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    await callback.runtime.timer.aclose()
    assert not callback.faults.counts, callback.faults.counts
    router_patches.uninstall()
    return tally


def main() -> list[str]:
    """The table."""
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    lines = [f"{REQUESTS} requests with tools, {len(table())} providers, whole answers, cold start", ""]
    names = ("max_attempts", "bad without", "bad with", "factor", "blind", "aim", "worse", "answers/request")
    widths = (12, 13, 10, 8, 8, 6, 7, 17)
    lines.append("".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True)))
    with _providers() as url:
        for attempts, aim in AIMS.items():
            control = ProviderControl(url)
            for row in table():
                control.behave(row.slug, **row.behaviour(seed=attempts).model_dump(include={"seed", "error_rate"}))
            random.seed(attempts)
            tally = asyncio.run(_run(url, attempts))
            control.reset()
            control.close()
            factor = tally.before / tally.after if tally.after else float("inf")
            lines.append(
                f"{attempts:>12}{tally.before:>13}{tally.after:>10}{factor:>8.1f}{blind(attempts):>8.1f}{aim:>6.0f}"
                f"{tally.worse:>7}{tally.answers / REQUESTS:>17.3f}"
            )
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(main()) + "\n")
