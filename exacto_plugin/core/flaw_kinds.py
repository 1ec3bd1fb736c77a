"""The kinds of flaws of an answer, and the parties that they are attributed to."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Blame(StrEnum):
    """Side that a flaw is attributed to."""

    PROVIDER = "provider"
    """The provider of the model: its parser, its template, its sampling."""
    CALLER = "caller"
    """The caller: a schema, a choice or a history that no model can satisfy."""
    LIMIT = "limit"
    """A limit on the answer: its length, or a content filter."""
    CLIENT = "client"
    """The client disconnected before the answer ended."""


class Flaw(StrEnum):
    """A flaw of an answer; ``Blame`` is its attribution."""

    INVALID_JSON = "invalid_json"
    UNKNOWN_NAME = "unknown_name"
    SCHEMA_MISMATCH = "schema_mismatch"
    MISSING_CALL = "missing_call"
    """The finish reason is tool calls, and there is none."""
    LEAKED_MARKUP = "leaked_markup"
    """The text has a call in the model's own markup, not converted by the provider."""
    IGNORED_CHOICE = "ignored_choice"
    """The answer violates ``tool_choice``, which requires, names or forbids calls."""
    DUPLICATE_ID = "duplicate_id"
    """Two calls have the same id, so that a client cannot match their results."""
    BROKEN_SCHEMA = "broken_schema"
    """The called tool's schema does not compile, so the call counts as valid."""
    CONTRADICTORY_CHOICE = "contradictory_choice"
    """``tool_choice`` names a tool that the request does not offer."""
    BROKEN_HISTORY = "broken_history"
    """The request has a tool result without its call, or a call without its result."""
    TRUNCATED = "truncated"
    FILTERED = "filtered"
    DISCONNECTED = "disconnected"
    EMPTY = "empty"
    """Neither text nor a call, nor a refusal; as the next four, of any answer, with tools or without."""
    REASONING_ONLY = "reasoning_only"
    """Reasoning, and nothing after it."""
    CORRUPT = "corrupt"
    """The text has undecoded bytes or tokens, or the stream's own markup."""
    PROVIDER_ERROR = "provider_error"
    """The answer, its text or its finish reason is an error of the provider."""
    NO_USAGE = "no_usage"
    """The answer does not report its tokens."""


BROKEN: Final = frozenset({Flaw.EMPTY, Flaw.REASONING_ONLY, Flaw.CORRUPT, Flaw.PROVIDER_ERROR})
"""Flaws with which a client cannot use the answer.
An answer without usage can be used, so it is no broken one."""
