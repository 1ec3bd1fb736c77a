"""Rescue, without the asking: which answer may be replaced, how long another is sought, and which one the client gets.

Pure: judgements in, decisions out. What is asked and how is the seam's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD: Final = frozenset({Outcome.INVALID_JSON, Outcome.UNKNOWN_NAME, Outcome.SCHEMA_MISMATCH})


@dataclass(frozen=True, slots=True)
class AnswerQuality:
    """What one answer to a request with tools is worth, before anybody has it."""

    outcome: Outcome | None = None
    """The worst verdict among its tool calls; None without any."""
    lost: bool = False
    """A call that was meant or demanded did not arrive as one."""
    excused: bool = False
    """Somebody else than the provider is to blame for its flaws: the caller, say."""
    incomplete: bool = False
    """It is no whole answer: cut short by a limit or a filter, refused, redacted."""
    has_text: bool = False
    """It says something beside its calls."""

    @property
    def bad(self) -> bool:
        """Whether the client cannot use this answer's tool call, and its provider is to blame."""
        return not (self.incomplete or self.excused) and (self.lost or self.outcome in BAD)

    def is_usable(self, *, allow_text: bool = True) -> bool:
        """Whether this answer may take the place of a bad one.

        Without a call it may when it says something instead, as a model may: a call that one deployment ventured is
        not owed by another, unless the request demanded it, and then it is lost. What nobody could check never may.

        Args:
            text_welcome: False when the client has text of the bad answer already, which other text would contradict.
        """
        if self.incomplete or self.lost:
            return False
        if self.outcome is None:
            return self.has_text and allow_text
        return self.outcome is Outcome.VALID


@dataclass(frozen=True, slots=True)
class RescueBudget:
    """How much may be spent on one request."""

    attempts: int
    seconds: float
    """From the bad answer to the decision, whatever the attempts do."""

    def left_s(self, attempted: int, elapsed_s: float, untried: int) -> float:
        """Seconds that another attempt may take; 0 when there must not be one.

        Args:
            asked: attempts made for the sake of rescue so far.
            elapsed_s: seconds since the bad answer was there.
            untried: deployments that this request was not sent to.
        """
        if attempted >= self.attempts or untried <= 0:
            return 0.0
        return max(0.0, self.seconds - elapsed_s)


def choose_answer(qualities: Sequence[AnswerQuality | None], *, allow_text: bool = True) -> int:
    """Which of a request's answers the client gets: the first that serves, else the first.

    Args:
        judgements: in the order in which they came, at least one; None for an attempt that brought no answer.
        text_welcome: see :meth:`AnswerQuality.is_usable`.
    """
    for number, judgement in enumerate(qualities):
        if judgement is not None and judgement.is_usable(allow_text=allow_text):
            return number
    return 0
