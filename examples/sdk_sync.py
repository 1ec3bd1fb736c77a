"""A program without an event loop: ``Router.completion`` from several threads, whole and streamed.

    python examples/sdk_sync.py

Providers as in sdk_async.py.
"""

# ruff: noqa: T201 -- a program that talks
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import litellm
from providers import TOOLS, deployments, question

from exacto_plugin import Exacto, ExactoRefusedError

with deployments() as model_list:
    names = [one["model_info"]["id"] for one in model_list]
    router = litellm.Router(model_list=model_list, num_retries=1)
    with Exacto({"curated": {"kimi-k2": names[:1]}}).attach(router) as exacto:

        def ask(number: int) -> None:
            """One question; every other one is streamed."""
            answer = router.completion(model="kimi-k2", messages=question(number), tools=TOOLS, stream=number % 2 == 0)
            if number % 2 == 0:
                for _ in answer:
                    pass

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, range(120)))
        exacto.until_scored(120)
        for group in exacto.tiers()["model_groups"]:
            for one in group["deployments"]:
                print(f"{group['model_group']}: {one['deployment']} is {one['tier']}")
        exact = router.completion(model="kimi-k2:exacto", messages=question(0), tools=TOOLS)
        print(f"kimi-k2:exacto went to {exact._hidden_params['model_id']}, which the curated list names")
        try:
            router.completion(model="kimi-k2", messages=question(0), provider={"sort": "luck"})
        except ExactoRefusedError as error:
            print(f"refused with {error.refusal.status}: {error.refusal.message}")
