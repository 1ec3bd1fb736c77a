"""Time to the first token of good streams with rescue, beside none, beside rescue of whole answers only.

Four ways of asking, interleaved in an order drawn for each round: without rescue twice (what these two differ by is
noise), rescue of whole answers, and streams whose beginning is held back. A real ``litellm.Router`` with the plugin
asks simulated providers over HTTP. Both the time on the clock and the processor time of the asking thread are told;
the latter is free of other load on the machine. ``added`` is the median of the differences within a round.

A text that begins as an error message may ("The", "You") waits for what follows: the last table tells for how many of
the odd and good answers, and for how many further words.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import re
import sys
import time
from collections import Counter
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

from benchmarks.broken_answers import CORPUS, GOOD, World
from exacto_plugin.core.scoring.broken_answers import has_begun_well
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    import litellm

    from exacto_plugin.demo.control import ProviderControl

KINDS: Final = {
    "without rescue": (False, False),
    "without rescue, again": (False, False),
    "whole answers only": (True, False),
    "streams held": (True, True),
}
"""Rescue enabled, and its streams."""
_WARM: Final = 10


async def first_token(router: litellm.Router, number: int) -> tuple[float, float]:
    """Return the milliseconds from the request to the first text of a chat stream, by the clock and of this thread."""
    CURRENT.set(None)
    messages: Any = [{"role": "user", "content": f"What is the capital, no. {number}?"}]
    began, worked = time.perf_counter(), time.thread_time()
    stream: Any = await router.acompletion("openai", messages, stream=True)
    taken = (0.0, 0.0)
    async for part in stream:
        if not taken[0] and part.choices and part.choices[0].delta.content:
            taken = ((time.perf_counter() - began) * 1e3, (time.thread_time() - worked) * 1e3)
    return taken


async def measured(control: ProviderControl, base: Any, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the times of every kind, in the order of the rounds."""
    world = World(base, 2, {"enabled": False, "streams": False})
    for name in world.names["openai"]:
        control.behave(name, content=GOOD, broken_rate=0.0)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
    settings = world.callback.runtime.context.settings
    for number in range(rounds + _WARM):
        for name, (enabled, streams) in random.Random(number).sample(list(KINDS.items()), len(KINDS)):
            rescue = settings.rescue.model_copy(update={"enabled": enabled, "streams": streams})
            world.callback.runtime.context.settings = settings.model_copy(update={"rescue": rescue})
            times = await asyncio.create_task(first_token(world.router, number))
            if number >= _WARM:
                taken[name].append(times)
    await world.close()
    return taken


def held_words() -> Counter[int]:
    """Count the odd and good texts by the words that they are held for beyond the first; -1: to their end."""
    found: Counter[int] = Counter()
    for row in map(json.loads, CORPUS.read_text().splitlines()):
        words = re.findall(r"\s*\S+", row["text"])
        if set(row) == {"kind", "text"} and words:
            begun = (place for place in range(len(words)) if has_begun_well("".join(words[: place + 1])))
            found[next(begun, -1)] += 1
    return found


def _tell(taken: dict[str, list[tuple[float, float]]]) -> None:
    for place, title in enumerate(("on the clock", "of the asking thread's processor")):
        sys.stdout.write(
            f"milliseconds {title} to the first token of chat streams, {len(taken['streams held'])} each\n"
        )
        first = [times[place] for times in taken["without rescue"]]
        for name, times in taken.items():
            some = [one[place] for one in times]
            ranks, more = quantiles(some, n=100), median(a - b for a, b in zip(some, first, strict=True))
            told = f"p50 {median(some):7.2f}  p90 {ranks[89]:7.2f}  p99 {ranks[98]:7.2f}  added {more:+.3f}"
            sys.stdout.write(f"{name:24}{told}\n")
        sys.stdout.write("\n")
    words = held_words()
    beyond = ", ".join(f"{count} for {n}" for n, count in sorted(words.items()) if n > 0)
    sys.stdout.write(
        f"{words.total()} odd and good texts, many of them begun as errors are: {words[0]} flow from their first word; "
        f"words that others wait for: {beyond}; {words[-1]} wait for their end\n"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400, help="streams of each kind (default: 400)")
    options = parser.parse_args()
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with SimulatedProviders() as providers:
        _tell(asyncio.run(measured(providers.control, providers.api_base, options.rounds)))


if __name__ == "__main__":
    main()
