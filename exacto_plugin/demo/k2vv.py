"""Measured error rates for simulated providers, from the K2 Vendor Verifier.

From MoonshotAI's published tables. They count the tool-calling answers of each provider that fitted the caller's
schema. They do not distinguish kinds of error, so all three are drawn with equal weights; they have neither speeds nor
prices.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from exacto_plugin.demo.behaviour import Behaviour

NEWEST: Final = "2025-11-15"
"""Date of the newest table."""


@dataclass(frozen=True, slots=True)
class MeasuredProvider:
    """One row of a table."""

    name: str
    """As the table spells it."""
    tool_calls: int
    """Answers that ended with tool calls."""
    valid_tool_calls: int
    """Those whose calls all fitted the schema."""
    requests: int
    """Requests that were sent to the provider."""

    @property
    def slug(self) -> str:
        """The name in the form for URLs.

        ``Moonshot AI Turbo`` is ``moonshot-ai-turbo``.
        """
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def error_rate(self) -> float:
        """Share of tool-calling answers with a bad call."""
        return 1.0 - self.valid_tool_calls / self.tool_calls if self.tool_calls else 0.0

    @property
    def propensity(self) -> float:
        """Share of requests that were answered with tool calls."""
        return self.tool_calls / self.requests

    def behaviour(self, seed: int = 0) -> Behaviour:
        """Return the behaviour with this error rate that always calls a tool."""
        return Behaviour(seed=seed, error_rate=self.error_rate)


def table(date: str = NEWEST) -> tuple[MeasuredProvider, ...]:
    """Return the rows of one table, in its order.

    Raises:
        FileNotFoundError: there is no table of this date.
    """
    text = files("exacto_plugin").joinpath(f"data/k2vv/kimi-k2-0905_{date}.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return tuple(
        MeasuredProvider(row["provider"], row["tool_calls"], row["valid_tool_calls"], content["requests_per_provider"])
        for row in content["providers"]
    )
