"""Attributes the flaws of an answer to a request with tools to a party.

There are four parties. The **provider** returns bad calls; the **caller** sends requests that no model could follow;
a **limit** cuts an answer short; the **client** disconnects. A flaw of another party excuses the provider: an answer
that a limit cut off, or that follows a contradictory request, is never a reason to derank. The flaws that tiers count
are also chosen here (``LossPolicy``). Texts, arguments and names are read by other modules and stored by none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.model import Blame, Flaw, Outcome
from exacto_plugin.core.scoring.flaws import BLAME, FLAW_OF, LOSSES
from exacto_plugin.core.scoring.message_history import is_broken
from exacto_plugin.core.scoring.tool_choice import ChoiceMode, ToolChoice, as_sent, read_choice
from exacto_plugin.core.scoring.tools import ToolKind, find_tool, is_one_of, is_open_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall

_EXCUSING: Final = (Flaw.CONTRADICTORY_CHOICE, Flaw.BROKEN_HISTORY)
"""The caller's flaws that excuse other flaws.
A schema that does not compile concerns its own call only."""


class Ending(StrEnum):
    """The end of an answer."""

    STOP = "stop"
    CALLS = "calls"
    """The finish reason announces tool calls."""
    LENGTH = "length"
    FILTER = "filter"
    REFUSAL = "refusal"
    """The model declined to answer, which is attributed to no party."""
    CLIENT_LEFT = "client_left"


_CUT: Final = {
    Ending.LENGTH: Flaw.TRUNCATED,
    Ending.FILTER: Flaw.FILTERED,
    Ending.CLIENT_LEFT: Flaw.DISCONNECTED,
}


@dataclass(frozen=True, slots=True)
class RequestExpectations:
    """The parts of a request that its answer is checked against, as sent."""

    tools: Sequence[object] = ()
    choice: object = None
    """``tool_choice`` in any form."""
    history: object = None
    """``messages``, ``input`` or ``contents``."""
    whole_history: bool = True
    """False if the provider stores earlier turns."""
    sent_choice: Callable[[], object] | None = None
    """Returns the choice that the provider got, where that is known."""


@dataclass(frozen=True, slots=True)
class ObservedAnswer:
    """The properties of an answer that scoring needs, without its text."""

    calls: tuple[ToolCall, ...] = ()
    ending: Ending = Ending.STOP
    leaked: bool = False
    """True if the answer's text contains a lost tool call (see ``leaked_calls``)."""
    duplicate_ids: bool = False
    others: bool = False
    """True if it has calls that the provider runs itself (web search, MCP).
    These calls get no verdict."""
    written: bool = False
    """True if the answer is a lost tool call written as JSON, without a model's markup.
    A required call that arrives so is an ignored choice."""

    @property
    def is_empty(self) -> bool:
        """True if it has no call in any form but plain JSON."""
        return not (self.leaked or self.calls or self.others)


@dataclass(frozen=True, slots=True)
class Attribution:
    """The flaws of one answer and their attribution. Holds neither text nor names."""

    flaws: tuple[Flaw, ...] = ()
    """In the order of ``Flaw``, each at most once."""
    blame: Blame | None = None
    """None without any flaw."""

    @property
    def lost(self) -> bool:
        """True if an intended or required call did not arrive as a call."""
        return any(flaw in LOSSES for flaw in self.flaws)


FLAWLESS: Final = Attribution()
"""An answer without any flaw."""


def attribute(asked: RequestExpectations, reply: ObservedAnswer, evaluations: Sequence[Evaluation]) -> Attribution:
    """Find the flaws of an answer to a request with tools and attribute them.

    The request's history is only read if the provider would be blamed, because histories are long.

    Args:
        asked: the request.
        reply: its answer.
        evaluations: the verdicts on its calls; empty if the answer was cut off.
    """
    cut = _CUT.get(reply.ending)
    if cut is not None:
        return Attribution((cut,), BLAME[cut])
    found = {flaw for each in evaluations if (flaw := each.flaw) is not None}
    choice = read_choice(asked.choice)
    if reply.duplicate_ids:
        found.add(Flaw.DUPLICATE_ID)
    if reply.leaked:
        found.add(Flaw.LEAKED_MARKUP)
    if reply.is_empty and not reply.written and reply.ending is Ending.CALLS:
        found.add(Flaw.MISSING_CALL)
    elif _ignores(choice, reply, asked.tools) and (
        asked.sent_choice is None or _ignores(as_sent(choice, read_choice(asked.sent_choice())), reply, asked.tools)
    ):
        found.add(Flaw.IGNORED_CHOICE)
    elif reply.written:
        found.add(Flaw.LEAKED_MARKUP)
    if any(BLAME[flaw] is Blame.PROVIDER for flaw in found):
        if _is_contradictory(choice, asked.tools):
            found.discard(Flaw.IGNORED_CHOICE)
            found.add(Flaw.CONTRADICTORY_CHOICE)
        if is_broken(asked.history, complete=asked.whole_history):
            found.add(Flaw.BROKEN_HISTORY)
    if not found:
        return FLAWLESS
    return Attribution(tuple(flaw for flaw in Flaw if flaw in found), _blame(found))


def _blame(flaws: set[Flaw]) -> Blame | None:
    if not flaws:
        return None
    if any(flaw in flaws for flaw in _EXCUSING):
        return Blame.CALLER
    return Blame.PROVIDER if any(BLAME[flaw] is Blame.PROVIDER for flaw in flaws) else Blame.CALLER


def _is_contradictory(choice: ToolChoice, tools: Sequence[object]) -> bool:
    """Check that the choice names tools and the request offers none of them."""
    return bool(choice.names) and not is_open_set(tools) and not any(find_tool(tools, name) for name in choice.names)


def _ignores(choice: ToolChoice, reply: ObservedAnswer, tools: Sequence[object]) -> bool:
    """Check for a missing call that the choice requires, or a call that it rules out.

    Built-in tools are not counted: their provider runs them, and LiteLLM may not pass them on.
    """
    if any((tool := find_tool(tools, name)) is not None and tool.kind is ToolKind.BUILT_IN for name in choice.names):
        return False
    if reply.is_empty:
        return choice.mode is ChoiceMode.REQUIRED and reply.ending is not Ending.REFUSAL
    if choice.mode is not ChoiceMode.NONE and not choice.names:
        return False
    ruled_out = [call.name for call in reply.calls if not is_one_of(tools, call.name, choice.names)]
    found = (find_tool(tools, name) for name in ruled_out)
    return any(tool is None or tool.kind is not ToolKind.BUILT_IN for tool in found)


@dataclass(frozen=True, slots=True)
class LossPolicy:
    """The flaws of an answer that a tier counts."""

    losses: frozenset[Flaw] = frozenset(LOSSES)
    """The hidden flaws (``HIDDEN``) that count as a lost call; bad calls always count."""
    excuses_callers: bool = True
    """True if bad calls that the caller caused are not counted."""

    def charged_outcome(self, outcome: Outcome | None, attribution: Attribution) -> tuple[Outcome | None, bool]:
        """Return the outcome and the lost flag of a ``Sample``.

        Args:
            outcome: the worst outcome among the answer's calls.
            attribution: the attribution of the answer's flaws.
        """
        bad = outcome in FLAW_OF
        if self.excuses_callers and attribution.blame is not None and attribution.blame is not Blame.PROVIDER:
            return (Outcome.UNSCORED if bad else outcome), False
        if not bad and not self.losses.isdisjoint(attribution.flaws):
            return None, True
        return outcome, False
