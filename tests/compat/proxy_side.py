"""The lines of the proxy: a real ``litellm --config`` of another environment, asked by the official clients."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anthropic
import openai

from tests.compat.cases import Answer
from tests.compat.judging import Outcome
from tests.compat.plan import INTERVAL_S, ROUTER
from tests.compat.rows import counted, flaws
from tests.support.proxy.observation import api
from tests.support.proxy.openai_client import config
from tests.support.proxy.proxy import Proxy
from tests.support.proxy.surfaces import CHAT, MESSAGES, RESPONSES, Clients, Surface

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.compat.plan import Plan, Request
    from tests.compat.rows import SurfaceName

AT_ONCE: Final = 8
"""Requests on their way."""
_SURFACES: Final[Mapping[SurfaceName, Surface]] = {"chat": CHAT, "responses": RESPONSES, "messages": MESSAGES}
_LOOKS: Final = 4
"""Looks at the plugin's counts that must agree before they are taken for final."""
_MANY_LOOKS: Final = 20
"""Then it is too late."""


def ask_proxy(plan: Plan, interpreter: Path, checkout: Path) -> Outcome:
    """Start a proxy, ask everything, and stop it again.

    Args:
        plan: what is asked; the providers behave as it says.
        interpreter: whose environment's LiteLLM is asked.
        checkout: the repository that the plugin is taken from.

    Raises:
        RuntimeError: the proxy did not start; the message has the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="exacto-compat-") as directory:
        proxy = Proxy(
            config(plan.model_list(), router=ROUTER, **plan.settings()),
            Path(directory),
            keys=plan.keys(),
            environment={"PYTHONPATH": str(checkout)},
            interpreter=interpreter,
        )
        with proxy:
            answers = asyncio.run(_ask_all(plan, proxy))
            verdicts = _settled(proxy)
            features = _told(proxy, "status").get("features") or {}
        return Outcome(answers, plan.seen(), verdicts, features)


async def _ask_all(plan: Plan, proxy: Proxy) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    limit = asyncio.Semaphore(AT_ONCE)
    async with Clients(proxy.base_url) as clients:

        async def ask(requests: Sequence[Request]) -> None:
            async with limit:
                for one in requests:
                    answers[one.marker] = await _ask(clients, one)

        for turn in plan.rounds:
            await asyncio.gather(*(ask([one]) for line in plan.lines for one in line.warm(turn)))
            await asyncio.to_thread(_recomputed, proxy)
        await asyncio.gather(*map(ask, plan.requests()))
    return answers


async def _ask(clients: Clients, request: Request) -> Answer:
    """Ask once; whatever comes of it is an answer."""
    asked = request.ask
    more: dict[str, Any] = {"question": request.question, "extra_body": request.body}
    if not asked.tools:
        more["tools"] = openai.omit
    if asked.key is not None:
        more["extra_headers"] = {"Authorization": f"Bearer {asked.key}"}
    try:
        heard = await _SURFACES[asked.surface].ask(clients, request.model, stream=asked.stream, **more)
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return _refusal(error)
    except (openai.APIError, anthropic.APIError) as error:
        return Answer(error=type(error).__name__)
    return Answer(200, heard.said, _ours(heard.headers))


def _refusal(error: Any) -> Answer:
    try:
        told = error.response.json()["error"]
    except (ValueError, LookupError, TypeError):
        told = {}
    return Answer(
        error.status_code,
        headers=_ours(error.response.headers),
        error=str(told.get("type") or ""),
        param=str(told.get("param") or ""),
    )


def _ours(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower().startswith("x-exacto-")}


# --- what the plugin tells of itself --------------------------------------------------------------------------------


def _told(proxy: Proxy, path: str) -> dict[str, Any]:
    answer = api(proxy, path)
    return dict(answer.json()) if answer.status_code == 200 else {}


def _recomputed(proxy: Proxy) -> None:
    """Wait until all that was answered has been judged: two recomputes, or until it is too late."""
    first = _told(proxy, "status").get("snapshot")
    later = {first}
    for _ in range(_MANY_LOOKS):
        time.sleep(INTERVAL_S / 2)
        later.add(_told(proxy, "status").get("snapshot"))
        if len(later) > 2:
            return


def _settled(proxy: Proxy) -> list[dict[str, Any]]:
    """The verdicts once nothing is added to them any more."""
    groups: list[dict[str, Any]] = []
    counts: list[int] = []
    while len(counts) < _MANY_LOOKS and (len(counts) < _LOOKS or len({*counts[-_LOOKS:]}) > 1):
        time.sleep(INTERVAL_S)
        groups = _told(proxy, "models").get("model_groups", [])
        counts.append(sum(counted(one["deployments"]) + flaws(one["deployments"]) for one in groups))
    return groups
