"""A program with a router and the plugin, run by the interpreter that is looked at: ``program.py PLAN ANSWERS``.

Imports LiteLLM and the plugin only, so that it runs in any environment with any checkout of it. Both files are JSON;
:mod:`tests.compat.program_side` writes the first and reads the second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import litellm

from exacto_plugin import Exacto, ExactoRefusedError

AT_ONCE = 8
FIELDS = ("on", "reason", "remedy")
"""Of a feature."""
PATIENCE_S = 6.0
"""How long counts may take to be complete after the last answer."""


def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Ask everything.

    Args:
        plan: ``settings`` of the plugin, ``model_list`` and ``router`` of LiteLLM's router, ``warm`` (rounds of
            requests, each followed by a recompute) and ``requests``; a request has ``marker``, ``channel`` and the
            ``keywords`` that the router is asked with.

    Returns:
        ``answers`` by marker, ``verdicts`` and ``features`` as the plugin shows them.
    """
    router = litellm.Router(model_list=plan["model_list"], **plan["router"])
    with Exacto(plan["settings"]) as exacto:
        exacto.attach(router)
        for round_ in plan["warm"]:
            ask(router, round_)
            settled(exacto)
        answers = ask(router, plan["requests"])
        verdicts = settled(exacto)
        features = {name: plain(one) for name, one in dict(getattr(exacto, "features", None) or {}).items()}
    return {"answers": answers, "verdicts": verdicts, "features": features}


def plain(feature: Any) -> dict[str, Any]:
    """A feature as JSON, whether it is a mapping or an object."""
    told = feature if isinstance(feature, dict) else {name: getattr(feature, name, None) for name in FIELDS}
    return {name: told.get(name) for name in FIELDS}


def ask(router: Any, requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Ask the asynchronous ones, then the synchronous ones; answers by marker."""
    awaited = [one for one in requests if one["channel"] == "async"]
    others = [one for one in requests if one["channel"] == "sync"]
    answers = asyncio.run(ask_async(router, awaited))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers |= zip(
            [one["marker"] for one in others], pool.map(lambda one: ask_sync(router, one), others), strict=True
        )
    return answers


async def ask_async(router: Any, requests: list[dict[str, Any]]) -> dict[str, Any]:
    """All of them, so many at once."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(request: dict[str, Any]) -> dict[str, Any]:
        async with limit:
            try:
                answer = await router.acompletion(**request["keywords"])
                if request["keywords"]["stream"]:
                    return heard([chunk async for chunk in answer])
            except Exception as error:  # whatever a version of LiteLLM raises is what came of the request
                return failed(error)
            return heard([answer])

    answers = await asyncio.gather(*map(one, requests))
    await asyncio.sleep(0.5)  # LiteLLM tells its callbacks of an answer after it was given
    return dict(zip([one["marker"] for one in requests], answers, strict=True))


def ask_sync(router: Any, request: dict[str, Any]) -> dict[str, Any]:
    """One of them."""
    try:
        answer = router.completion(**request["keywords"])
        return heard(list(answer) if request["keywords"]["stream"] else [answer])
    except Exception as error:  # as above
        return failed(error)


def heard(answers: list[Any]) -> dict[str, Any]:
    """What an answer says, whole or in chunks: its text and the arguments of its call."""
    said = ""
    for choice in (choice for one in answers for choice in one.choices):
        message = getattr(choice, "message", None) or choice.delta
        said += message.content or ""
        said += "".join(call.function.arguments or "" for call in message.tool_calls or ())
    return {"status": 200, "said": said}


def failed(error: Exception) -> dict[str, Any]:
    """What an exception says."""
    if isinstance(error, ExactoRefusedError):
        refusal = error.refusal
        return {"status": refusal.status, "error": refusal.type, "param": refusal.param or ""}
    return {"status": getattr(error, "status_code", 0) or 0, "error": type(error).__name__}


def settled(exacto: Any) -> list[dict[str, Any]]:
    """The verdicts once nothing is added to them any more, or patience ends."""
    seen: list[list[dict[str, Any]]] = []
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        exacto.recompute()
        seen.append(exacto.tiers()["model_groups"])
        if len(seen) > 3 and len({evidence(one) for one in seen[-3:]}) == 1:
            break
        time.sleep(0.2)
    return seen[-1]


def evidence(groups: list[dict[str, Any]]) -> int:
    """Everything that was counted, in one number."""
    signals = [signal for group in groups for one in group["deployments"] for signal in one["signals"].values()]
    return sum(int(signal["samples"]) for signal in signals)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
