"""Costs of answers inside the isolated proxy, and the end of a budget.

LiteLLM loads ``meter`` as its callback. Each answer becomes a line of JSON in the file of costs. Beyond the budget
requests are refused with status 402. A request on its way counts like the dearest answer so far, and the first answer
is waited for, so that the budget is exceeded by less than the cost of one sample.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

from exacto_plugin.bench.isolated.costs import BUDGET, COSTS, spent_in

_LONGEST_S: Final = 900.0
"""After it a request without an end counts no longer: a client that left is not reported for each surface."""


class Meter(CustomLogger):
    """Counts costs, and refuses requests beyond the budget.

    Args:
        costs: file to which answers are appended; its lines count as spent.
        budget: USD; None: no limit.
    """

    def __init__(self, costs: Path | None, budget: float | None) -> None:
        super().__init__()
        self._costs = costs
        self._budget = budget
        self._spent = spent_in(costs) if costs is not None else 0.0
        self._dearest = 0.0
        self._answered = asyncio.Event()
        self._on_their_way: dict[str, float] = {}
        """LiteLLM's call id -> the time in monotonic seconds when it counts no longer."""

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: Any
    ) -> None:
        """Refuse a request beyond the budget.

        Raises:
            HTTPException: 402.
        """
        if self._budget is None:
            return
        call = str(data.get("litellm_call_id") or id(data))
        if self._alive() and not self._answered.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._answered.wait(), _LONGEST_S)
        if self._spent + self._dearest * self._alive() >= self._budget:
            raise HTTPException(402, {"error": "the budget of this benchmark is spent"})
        self._on_their_way[call] = time.monotonic() + _LONGEST_S

    def _alive(self) -> int:
        now = time.monotonic()
        self._on_their_way = {call: until for call, until in self._on_their_way.items() if until > now}
        return len(self._on_their_way)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Count an answer."""
        logged = kwargs.get("standard_logging_object") or {}
        cost = float(kwargs.get("response_cost") or logged.get("response_cost") or 0.0)
        self._end(kwargs, cost)
        self._write(
            {
                "at": time.time(),
                "model": str(logged.get("model_group") or ""),
                "deployment": str(logged.get("model_id") or ""),
                "input_tokens": int(logged.get("prompt_tokens") or 0),
                "output_tokens": int(logged.get("completion_tokens") or 0),
                "usd": cost,
            }
        )

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Forget a request that failed; it costs nothing."""
        self._end(kwargs, 0.0)

    def _end(self, kwargs: Any, cost: float) -> None:
        self._on_their_way.pop(str(kwargs.get("litellm_call_id") or ""), None)
        self._spent += cost
        self._dearest = max(self._dearest, cost)
        self._answered.set()

    def _write(self, line: dict[str, Any]) -> None:
        if self._costs is not None:
            with self._costs.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _of_environment() -> Meter:
    costs, budget = os.environ.get(COSTS), os.environ.get(BUDGET)
    return Meter(Path(costs) if costs else None, float(budget) if budget else None)


meter = _of_environment()
