"""Replays a suite against one deployment, until its answers decide.

Asks an OpenAI-compatible endpoint whose model name stands for one deployment. Answers are counted in the order of the
suite, so that fast answers do not come first. Keeps no text.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.bench.verifier.scoring import AnswerScorer, ScoredAnswer
    from exacto_plugin.bench.verifier.suite import Suite

AT_ONCE = 8
"""Requests in flight."""

TIMEOUT_S = 120.0
"""Seconds for an answer."""

_TRIES, _LONGEST_PAUSE_S = 4, 30.0
"""Attempts of a request that is refused for a rate limit, and the longest wait for the next one."""

_HOPELESS = 10
"""Errors from which a run ends when they are half of its requests."""

_WAITS, _NO_MONEY = (429, 503), 402


class Endpoint(NamedTuple):
    """Where a deployment answers."""

    base_url: str
    """With ``/v1``."""
    key: str
    model: str


class BudgetError(Exception):
    """The proxy refuses further requests: the money is spent."""


class NoAnswerError(Exception):
    """A request ended without an answer."""


@dataclass(slots=True)
class Tally:
    """Counts of a run so far."""

    answers: int = 0
    errors: int = 0
    calls: int = 0
    bad: int = 0
    flaws: Counter[str] = field(default_factory=Counter)
    triggers: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    dearest: float = 0.0
    """Cost of the dearest request."""
    answered_by: set[str] = field(default_factory=set)
    """Deployments that the answers name."""
    out_of_money: bool = False

    @property
    def asked(self) -> int:
        """Requests that ended."""
        return self.answers + self.errors

    def add(self, scored: ScoredAnswer, headers: Mapping[str, str]) -> None:
        """Count an answer."""
        self.answers += 1
        self.calls += scored.called
        self.bad += scored.bad
        self.flaws.update(scored.flaws)
        self.triggers += "1" if scored.called else "0"
        self.input_tokens += scored.input_tokens
        self.output_tokens += scored.output_tokens
        if (answered := headers.get("x-litellm-model-id")) is not None:
            self.answered_by.add(answered)
        if (cost := _number(headers.get("x-litellm-response-cost"))) is not None:
            self.cost = (self.cost or 0.0) + cost
            self.dearest = max(self.dearest, cost)

    def add_error(self) -> None:
        """Count a request without an answer."""
        self.errors += 1
        self.triggers += "-"

    def affords(self, pending: int, max_usd: float | None) -> bool:
        """Return False where the next request could exceed the money by more than itself."""
        if max_usd is None:
            return True
        return pending == 0 if self.cost is None else self.cost + (pending + 1) * self.dearest <= max_usd


async def replay(
    suite: Suite,
    endpoint: Endpoint,
    scorer: AnswerScorer,
    is_decided: Callable[[int, int], bool],
    *,
    max_usd: float | None = None,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Ask the requests of a suite until they decide, and return the counts.

    Args:
        suite: the requests.
        endpoint: of the deployment.
        scorer: of the answers.
        is_decided: given the calls and the bad ones so far.
        max_usd: money for this run, by the costs that LiteLLM's headers tell; None: unlimited.
        progress: called after each answer.
    """
    tally, pending = Tally(), deque[tuple[dict[str, Any], asyncio.Task[httpx.Response]]]()
    bodies = iter(suite.bodies)
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    async with httpx.AsyncClient(timeout=TIMEOUT_S, headers=headers) as client:
        while not is_decided(tally.calls, tally.bad) and not _is_hopeless(tally):
            while len(pending) < AT_ONCE and tally.affords(len(pending), max_usd):
                body = next(bodies, None)
                if body is None:
                    break
                pending.append((body, asyncio.create_task(_ask(client, endpoint, body))))
            if not pending:
                break
            body, task = pending.popleft()
            if not await _count(tally, body, task, scorer):
                break
            progress(tally)
        tally.out_of_money |= not tally.affords(0, max_usd)
        for _, task in pending:
            task.cancel()
        await asyncio.gather(*(task for _, task in pending), return_exceptions=True)
    return tally


async def _count(
    tally: Tally, body: Mapping[str, Any], task: asyncio.Task[httpx.Response], scorer: AnswerScorer
) -> bool:
    """Count the end of a request; False if the money is spent."""
    try:
        response = await task
        tally.add(scorer.score(body, response.json()), response.headers)
    except BudgetError:
        tally.out_of_money = True
    except (NoAnswerError, ValueError):
        tally.add_error()
    return not tally.out_of_money


async def _ask(client: httpx.AsyncClient, endpoint: Endpoint, body: Mapping[str, Any]) -> httpx.Response:
    """Ask once; a rate limit is waited for.

    Raises:
        BudgetError: the proxy's money is spent.
        NoAnswerError: no answer, or an error.
    """
    url, content = f"{endpoint.base_url}/chat/completions", {**body, "model": endpoint.model}
    for attempt in range(_TRIES):
        try:
            response = await client.post(url, json=content)
        except httpx.HTTPError:
            raise NoAnswerError from None
        if response.is_success:
            return response
        if response.status_code == _NO_MONEY:
            raise BudgetError
        if response.status_code not in _WAITS or attempt == _TRIES - 1:
            break
        asked = _number(response.headers.get("retry-after"))
        await asyncio.sleep(min(2.0**attempt if asked is None else asked, _LONGEST_PAUSE_S))
    raise NoAnswerError


def _is_hopeless(tally: Tally) -> bool:
    return tally.errors >= _HOPELESS and 2 * tally.errors >= tally.asked


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
