"""Finds the flaws that any answer may have, with tools or without.

An answer is empty, has reasoning only, is damaged, or is a provider's error, and its usage may be missing. All of them
are attributed to the provider; whatever the caller asked for (a token limit, stop sequences, log probabilities only, a
begun answer) or ended excuses an answer without text. One word, an emoji, a refusal and a call without text are good
answers. Stores no text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.model import BROKEN, Blame, Flaw
from exacto_plugin.core.scoring.attribution import Attribution
from exacto_plugin.core.scoring.corrupt_text import is_corrupt, may_be_corrupt
from exacto_plugin.core.scoring.error_text import is_provider_error, may_be_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILED_REASONS: Final = frozenset({
    "error", "network_error", "failed", "failure", "abort", "aborted", "internal_error", "server_error",
    "insufficient_system_resource", "engine_overloaded", "overloaded", "malformed_response", "unknown_error",
})  # fmt: skip
"""Finish reasons, in small letters, by which a provider says that it failed.
Of OpenRouter and Cohere, Zhipu, vLLM and SGLang, DeepSeek and Gemini."""

_INVISIBLE: Final = re.compile("[\\s\u200b-\u200f\u2028-\u202e\u2060\ufeff\\x00-\\x1f]*+\\Z")
_THOUGHT: Final = re.compile(r"\s*<(think|thinking|thought|reasoning)>(?! [a-z])(.*?)(?:</\1>|\Z)", re.DOTALL)
"""Reasoning that the server left in the text, closed or not."""
_THOUGHT_TAGS: Final = ("<think>", "<thinking>", "<thought>", "<reasoning>")
_LONGEST_TAG: Final = 12


@dataclass(frozen=True, slots=True)
class AnswerContent:
    """The content of an answer on any surface, before its flaws are known."""

    texts: tuple[str, ...] = ()
    """The texts of all choices and parts, reasoning left out."""
    spoke: bool = False
    """True if the stream had text that ``texts`` lack."""
    reasoned: bool = False
    others: bool = False
    """True if it has content of another kind: calls, images, audio, citations, log probabilities."""
    refused: bool = False
    error: bool = False
    """True if it is an error object."""
    reasons: frozenset[str] = frozenset()
    """Finish reasons in small letters, in the provider's words where they are known."""
    reports_usage: bool = True
    """False if it should have reported its tokens and did not."""


@dataclass(frozen=True, slots=True)
class ContentExpectations:
    """The parts of a request that excuse an answer's flaws; each is read when needed."""

    may_be_empty: Callable[[], bool] = lambda: False
    """Returns whether the request asks for an answer that may have no text."""
    last_message: Callable[[], str] = lambda: ""
    """Returns the text of its last message."""


def content_flaws(content: AnswerContent, asked: ContentExpectations) -> tuple[Flaw, ...]:
    """Return the flaws of an answer's content, in the order of ``Flaw``.

    Args:
        content: of an answer that its provider ended.
        asked: the request.
    """
    found: set[Flaw] = set()
    spoken = [text for text in map(without_thought, content.texts) if not is_blank(text)]
    if content.error or not FAILED_REASONS.isdisjoint(content.reasons):
        found.add(Flaw.PROVIDER_ERROR)
    elif not (spoken or content.spoke or content.others or content.refused) and not asked.may_be_empty():
        thought = content.reasoned or any(_THOUGHT.match(text) for text in content.texts)
        found.add(Flaw.REASONING_ONLY if thought else Flaw.EMPTY)
    for text in spoken:
        if is_corrupt(text, asked.last_message):
            found.add(Flaw.CORRUPT)
    if len(spoken) == 1 and not content.others and is_provider_error(spoken[0], asked.last_message):
        found.add(Flaw.PROVIDER_ERROR)
    if not (content.reports_usage or content.error):
        found.add(Flaw.NO_USAGE)
    if not found:
        return ()
    return tuple(flaw for flaw in Flaw if flaw in found)


def with_content_flaws(known: Attribution, flaws: Sequence[Flaw]) -> Attribution:
    """Return an attribution with the flaws of the answer's content.

    A flaw that another party is to blame for excuses them. An announced call that did not arrive, and a call in the
    text, explain an answer without text; an answer cut off has no content to judge.

    Args:
        known: the attribution of the answer's calls.
        flaws: of its content.
    """
    if not flaws or known.blame not in (None, Blame.PROVIDER):
        return known
    explained = {Flaw.EMPTY, Flaw.REASONING_ONLY} if _explains(known) else set()
    explained |= {Flaw.CORRUPT} if Flaw.LEAKED_MARKUP in known.flaws else set()
    fresh = [flaw for flaw in flaws if flaw not in explained]
    if not fresh:
        return known
    return Attribution(tuple(flaw for flaw in Flaw if flaw in (*known.flaws, *fresh)), Blame.PROVIDER)


def _explains(known: Attribution) -> bool:
    return Flaw.MISSING_CALL in known.flaws or Flaw.LEAKED_MARKUP in known.flaws


def is_broken_answer(attribution: Attribution) -> bool:
    """Check for a flaw that makes the answer useless, with its provider to blame."""
    return attribution.blame is Blame.PROVIDER and not BROKEN.isdisjoint(attribution.flaws)


def is_blank(text: str) -> bool:
    """Check that a text has no visible character.

    >>> is_blank(" \\n\\u200b"), is_blank("\\U0001f44d"), is_blank("0")
    (True, False, False)
    """
    return _INVISIBLE.match(text) is not None


def without_thought(text: str) -> str:
    """Return a text without the reasoning that it begins with."""
    found = _THOUGHT.match(text) if "<" in text[:_LONGEST_TAG] or text[:1].isspace() else None
    return text[found.end() :] if found else text


def has_begun_well(text: str) -> bool:
    """Check that the beginning of a text is certainly not that of a broken answer.

    It has a visible character after its reasoning, and no mark or phrase that a broken answer begins with.
    """
    begun = text.lstrip()
    if begun.startswith("<") and any(begun.startswith(tag) or tag.startswith(begun) for tag in _THOUGHT_TAGS):
        begun = without_thought(begun) if "</" in begun else ""
    if is_blank(begun):
        return False
    return not (may_be_error(begun) or may_be_corrupt(begun))
