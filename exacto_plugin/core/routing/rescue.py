"""Rules of rescue: replaceable answers, time limit, and the answer to return.

Pure: answer qualities in, decisions out. The requests themselves are made in ``litellm_hooks.rescue``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exacto_plugin.core.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class AnswerQuality:
    """The quality of one answer to a request with tools, before it is delivered."""

    outcome: Outcome | None = None
    """The worst outcome among its tool calls; None without any."""
    lost: bool = False
    """True if a call that was intended or required did not arrive as a call."""
    excused: bool = False
    """True if a party other than the provider caused the flaws, such as the caller."""
    incomplete: bool = False
    """True if the answer is cut short by a limit or a filter, refused, or redacted."""
    has_text: bool = False
    """True if the answer has text beside its calls."""
    broken: bool = False
    """True if no client can use the answer, and its provider is to blame: it is empty, damaged or an error."""

    @property
    def bad(self) -> bool:
        """True if the call, or the whole answer, is unusable and its provider is to blame."""
        if self.broken:
            return True
        has_bad_call = self.lost or (self.outcome is not None and self.outcome.is_bad)
        return has_bad_call and not (self.incomplete or self.excused)

    def is_usable(self, *, allow_text: bool = True) -> bool:
        """Check that this answer may replace a bad one.

        An answer without a call may replace it if it has text: another deployment need not make the same call, unless
        the request required one, and then the call counts as lost. An answer that could not be checked never may.

        Args:
            allow_text: False if the client already has text of the bad answer, which other text would contradict.
        """
        if self.incomplete or self.lost or self.broken:
            return False
        if self.outcome is None:
            return self.has_text and allow_text
        return self.outcome is Outcome.VALID


@dataclass(frozen=True, slots=True)
class RescueBudget:
    """The limits of rescue for one request."""

    attempts: int
    seconds: float
    """Seconds from the bad answer to the decision, over all attempts."""

    def left_s(self, attempted: int, elapsed_s: float, untried: int) -> float:
        """Return the seconds that another attempt may take; 0 if none is allowed.

        Args:
            attempted: rescue attempts made so far.
            elapsed_s: seconds since the bad answer arrived.
            untried: deployments that this request may be sent to.
        """
        if attempted >= self.attempts or untried <= 0:
            return 0.0
        return max(0.0, self.seconds - elapsed_s)


def choose_answer(qualities: Sequence[AnswerQuality | None], *, allow_text: bool = True) -> int:
    """Return the index of the answer to deliver: the first usable one, else 0.

    Args:
        qualities: in the order of arrival, at least one; None for an attempt without an answer.
        allow_text: see :meth:`AnswerQuality.is_usable`.
    """
    for number, quality in enumerate(qualities):
        if quality is not None and quality.is_usable(allow_text=allow_text):
            return number
    return 0
