"""Direct calls without a router: nothing is routed, and every answer is scored by provider and host.

    python examples/sdk_direct.py

Providers as in sdk_async.py.
"""

# ruff: noqa: T201 -- a program that talks
from __future__ import annotations

import litellm
from providers import TOOLS, deployments, question

from exacto_plugin import Exacto

with deployments() as model_list, Exacto() as exacto:
    for one in model_list * 5:
        litellm.completion(**one["litellm_params"], messages=question(1), tools=TOOLS)
    exacto.until_scored(5 * len(model_list))
    for group in exacto.tiers()["model_groups"]:
        for found in group["deployments"]:
            signal = found["signals"]["tool_call_success"]
            print(f"{found['provider']}: {signal['samples']} answers, {signal['value']:.0%} of them in order")
