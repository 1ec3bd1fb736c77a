"""The ways to answer that the matrix tests go through, and what is right to make of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from exacto_plugin.demo.behaviour import Act

INSUFFICIENT: Final = "insufficient_data"


@dataclass(frozen=True)
class Way:
    """One way to answer, and what is right to make of it."""

    name: str
    act: Act | int
    outcome: str
    """How the request counts."""
    call: str = ""
    """How its tool call counts; empty: it is not judged."""
    flaw: str = ""
    blame: str = ""
    evidence: tuple[int, int] = (0, 0)
    """Answers that tiers count, and how many of them count against the deployment."""
    error: str = ""
    """How the first attempt fails; another deployment serves then."""
    latency_s: float = 0.0
    leaves: bool = False
    """The client hangs up: in the middle of a stream, and before a whole answer has come."""


GOOD: Final = Way("good", Act.VALID, "valid", "valid", evidence=(1, 0))
LEFT: Final = Way("left", Act.STALL, "client_disconnect", flaw="disconnected", blame="client", leaves=True)
LEFT_BEFORE: Final = Way("left", Act.VALID, "valid", "valid", evidence=(1, 0), latency_s=2.0, leaves=True)
"""Of a whole answer that nobody waits for LiteLLM still reads and bills all: it is worth what it is worth."""
WAYS: Final = (
    GOOD,
    Way("json", Act.INVALID_JSON, "invalid_json", "invalid_json", "invalid_json", "provider", (1, 1)),
    Way("name", Act.UNKNOWN_NAME, "unknown_name", "unknown_name", "unknown_name", "provider", (1, 1)),
    Way("schema", Act.SCHEMA_MISMATCH, "schema_mismatch", "schema_mismatch", "schema_mismatch", "provider", (1, 1)),
    Way("leaked", Act.LEAKED_MARKUP, "lost", "", "leaked_markup", "provider", (1, 1)),
    Way("missing", Act.MISSING_CALL, "lost", "", "missing_call", "provider", (1, 1)),
    Way("none", Act.TEXT, "no_call"),
    Way("cut", Act.TRUNCATED, "cut_short", "", "truncated", "limit"),
    LEFT,
    Way("500", 500, "valid", "valid", evidence=(1, 0), error="server_error"),
    Way("429", 429, "valid", "valid", evidence=(1, 0), error="rate_limit"),
)
