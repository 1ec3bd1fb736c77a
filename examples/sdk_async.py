"""An asynchronous program with its own ``litellm.Router``: the plugin is one line, and slugs work as on the proxy.

    python examples/sdk_async.py

Without a key it asks two simulated providers on this machine, one of which breaks tool calls. With OPENROUTER_API_KEY,
FIREWORKS_API_KEY or TOGETHER_API_KEY set it asks those instead.
"""

# ruff: noqa: T201 -- a program that talks
from __future__ import annotations

import asyncio

import litellm
from providers import TOOLS, deployments, question, until_scored

from exacto_plugin import Exacto


async def main() -> None:
    """Ask thirty times, look at the tiers, ask again."""
    with deployments() as model_list:
        router = litellm.Router(model_list=model_list, num_retries=1)
        exacto = Exacto({"tiers": {"recompute_interval_s": 5}}).attach(router)
        asked = 0
        for round_ in ("before", "after"):
            answered: dict[str, int] = {}
            for number in range(30):
                answer = await router.acompletion(model="kimi-k2", messages=question(number), tools=TOOLS)
                name = answer._hidden_params["model_id"]
                answered[name] = answered.get(name, 0) + 1
            print(f"{round_} verdicts: {answered}")
            asked += 30
            await asyncio.to_thread(until_scored, exacto, asked)
        for group in exacto.tiers()["model_groups"]:
            for one in group["deployments"]:
                print(f"{group['model_group']}: {one['deployment']} is {one['tier']}")
        exact = await router.acompletion(model="kimi-k2:exacto", messages=question(0))
        print(f"kimi-k2:exacto went to {exact._hidden_params['model_id']}")
        exacto.close()


asyncio.run(main())
