"""Runs inside a proxy under test: writes down what LiteLLM tells every callback of an answer that costs money."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

FILE = "SPENDING_FILE"


class Spending(CustomLogger):
    """Appends one JSON line for each answer: deployment, cost, key, call id, tokens."""

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Write the line."""
        payload = kwargs["standard_logging_object"]
        line = {
            "deployment": payload["model_id"],
            "cost": payload["response_cost"],
            "key": payload["metadata"]["user_api_key_hash"],
            "call": kwargs["litellm_call_id"],
            "tokens": payload["total_tokens"],
        }
        _append(json.dumps(line))


def _append(line: str) -> None:
    with Path(os.environ[FILE]).open("a") as file:
        file.write(f"{line}\n")


recorder = Spending()
