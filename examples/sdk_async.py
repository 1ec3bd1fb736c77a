"""An asynchronous program with its own ``litellm.Router``: the plugin is one line, and slugs work as on the proxy.

    python examples/sdk_async.py

Without a key it asks two simulated providers on this machine, one of which breaks tool calls. With OPENROUTER_API_KEY,
FIREWORKS_API_KEY or TOGETHER_API_KEY set it asks those instead.
"""

# ruff: noqa: T201 -- a program that talks
from __future__ import annotations

import asyncio

import litellm
from providers import TOOLS, broken, deployments, question

from exacto_plugin import Exacto


async def main() -> None:
    """Ask, make verdicts, ask again: how many calls are broken before, and how many after."""
    with deployments() as model_list:
        router = litellm.Router(model_list=model_list, num_retries=1)
        exacto = Exacto({"tiers": {"recompute_interval_s": 5}}).attach(router)
        asked, bad = 0, 0
        for phase, questions in (("before", 120), ("after", 60)):
            for first in range(asked, asked + questions, 10):
                tens = (
                    router.acompletion(model="kimi-k2", messages=question(n), tools=TOOLS)
                    for n in range(first, first + 10)
                )
                await asyncio.gather(*tens)
            asked += questions
            await asyncio.to_thread(exacto.until_scored, asked)
            print(f"{phase} verdicts: {broken(exacto) - bad} of {questions} calls were broken")
            bad = broken(exacto)
        for group in exacto.tiers()["model_groups"]:
            for one in group["deployments"]:
                print(f"{group['model_group']}: {one['deployment']} is {one['tier']}")
        exact = await router.acompletion(model="kimi-k2:exacto", messages=question(0))
        print(f"kimi-k2:exacto went to {exact._hidden_params['exacto']['deployment']}")
        exacto.close()


asyncio.run(main())
