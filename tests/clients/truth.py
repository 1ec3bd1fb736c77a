"""What the providers know about their answers, and the verdict that each deserves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Truth(StrEnum):
    """The content of one answer."""

    GOOD = "good"
    """One or two calls that the client can run."""
    TEXT = "text"
    """No call, and none was due."""
    SEARCH = "tool_search"
    """A search of tools, which is no call of one."""
    CUT_OFF = "cut_off"
    """Ended by the limit of its tokens, inside a call."""
    INVALID_JSON = "invalid_json"
    UNKNOWN_NAME = "unknown_name"
    SCHEMA_MISMATCH = "schema_mismatch"
    LEAKED_MARKUP = "leaked_markup"
    """The call is in the text."""
    MISSING_CALL = "missing_call"
    """The finish reason announces a call, and there is none."""


INNOCENT: Final = (Truth.GOOD, Truth.TEXT, Truth.SEARCH, Truth.CUT_OFF)
"""No provider is to be blamed for these."""

BAD: Final = tuple(truth for truth in Truth if truth not in INNOCENT)

UNRECORDED: Final = "no record"
CLIENT_LEFT: Final = "client left"
"""Verdicts on an answer without a sample; the latter where its client was gone."""

_DESERVED: Final[Mapping[Truth, tuple[str, ...]]] = {
    Truth.GOOD: ("valid",),
    Truth.TEXT: ("no_call", "no_tools"),
    Truth.SEARCH: ("no_call",),
    Truth.CUT_OFF: ("truncated",),
}
"""Verdicts on innocent answers; a bad answer deserves the verdict of its own name."""


@dataclass(frozen=True, slots=True)
class SentAnswer:
    """One answer that a provider sent."""

    number: int
    """Also the tokens of its prompt, by which its sample is found."""
    deployment: str
    surface: str
    """Of the provider: chat, messages or responses."""
    truth: Truth
    detail: str
    """The called tool, for people."""
    agent: bool = False
    """True if an agent of the client asked, which ends with its parent."""

    @property
    def marker(self) -> str:
        """Text that the answer contains, and no other."""
        return marker_of(self.number)

    def deserves(self, verdict: str) -> bool:
        """Return whether a verdict is the right one."""
        return verdict in _DESERVED.get(self.truth, (self.truth.value,))


def marker_of(number: int) -> str:
    """Return the text that only the answer of this number contains."""
    return f"m{number:05}x"


def verdict_of(sample: Mapping[str, Any]) -> str:
    """Return the verdict in an entry of the plugin's sample log, in one word."""
    flaws = sample.get("flaws") or ()
    if sample.get("ok") is False:
        return "failed"
    if sample.get("outcome"):
        return str(sample["outcome"])
    if flaws:
        return str(flaws[0])
    return "no_call" if sample.get("tools_offered") else "no_tools"
