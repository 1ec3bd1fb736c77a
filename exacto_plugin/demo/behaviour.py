"""The behaviour of a simulated provider, as data, and its draws for a request.

The data can be replaced while the provider runs. No HTTP and no clock. Every decision is drawn from a seed, the
provider's name and the number of the request, so the same traffic gets the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_PROPENSITY = 1.0
"""Tools are always used by default, so that every request yields a verdict."""


class Act(StrEnum):
    """The behaviour of one answer.

    The first group is drawn from rates; the others occur only on request.
    """

    VALID = "valid"
    """Tool calls whose arguments fit; text when no tools were offered."""
    INVALID_JSON = "invalid_json"
    UNKNOWN_NAME = "unknown_name"
    SCHEMA_MISMATCH = "schema_mismatch"
    TEXT = "text"
    """Tools were offered and are not used, not even where the request demands a call."""
    EMPTY_ARGUMENTS = "empty_arguments"
    """``""`` instead of a JSON object."""
    LEAKED_MARKUP = "leaked_markup"
    """The call arrives as the model's raw markup in the content."""
    MISSING_CALL = "missing_call"
    """Finish reason ``tool_calls``, and no call."""
    DUPLICATE_IDS = "duplicate_ids"
    """Two good calls with one id."""
    TRUNCATED = "truncated"
    """Cut off by the token limit in the middle of the arguments."""
    HANG = "hang"
    """No byte is ever sent."""
    STALL = "stall"
    """A stream that stops in the middle and stays open."""
    DROP = "drop"
    """The connection breaks in the middle of the answer."""
    ERROR_FIRST = "error_first"
    """Status 200 with an error as the first event; an unstreamed answer is a 500."""
    STOP_AFTER_NAME = "stop_after_name"
    """A stream that ends regularly after the tool's name, without a finish reason."""
    EMPTY = "empty"
    """Neither text nor a call, though the answer ends regularly."""
    REASONING_ONLY = "reasoning_only"
    """Reasoning, and nothing after it; of text completions empty."""
    CORRUPT = "corrupt"
    """Text of undecoded bytes."""
    ERROR_BODY = "error_body"
    """Status 200 with an error instead of an answer; of streams as the first event."""
    ERROR_TEXT = "error_text"
    """The provider's quota message as the text of the answer."""
    ERROR_FINISH = "error_finish"
    """No text, and a finish reason that means failure."""
    NO_USAGE = "no_usage"
    """A good answer that reports no tokens."""


BAD_CALLS = (Act.INVALID_JSON, Act.UNKNOWN_NAME, Act.SCHEMA_MISMATCH)
"""The three kinds of bad tool call."""

BROKEN_ANSWERS = (
    Act.EMPTY,
    Act.REASONING_ONLY,
    Act.CORRUPT,
    Act.ERROR_BODY,
    Act.ERROR_TEXT,
    Act.ERROR_FINISH,
    Act.NO_USAGE,
)
"""The broken answers that need no tools."""

Status = Annotated[int, Field(ge=400, le=599)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Behaviour(BaseModel):
    """The behaviour of a simulated provider, as data."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    seed: int = 0
    """Seed of all draws, with the provider's name and the number of the request."""
    error_rate: Share = 0.0
    """Share of tool-calling answers with a bad call."""
    error_mix: Mapping[Act, Annotated[float, Field(ge=0.0)]] = Field(
        default_factory=lambda: dict.fromkeys(BAD_CALLS, 1.0)
    )
    """Relative weights of the kinds of bad call within ``error_rate``.

    Any other act may be given as well."""
    broken_rate: Share = 0.0
    """Share of all answers, with tools or without, that are broken."""
    broken_mix: Mapping[Act, Annotated[float, Field(ge=0.0)]] = Field(
        default_factory=lambda: dict.fromkeys(BROKEN_ANSWERS, 1.0)
    )
    """Relative weights of the kinds within ``broken_rate``."""
    propensity: Share = DEFAULT_PROPENSITY
    """Probability that offered tools are used when the request leaves it open."""
    calls: Annotated[int, Field(ge=1, le=16)] = 1
    """Tool calls in one answer."""
    failure_rate: Share = 0.0
    """Share of requests that fail with ``failure_status``."""
    failure_status: Status = 500
    retry_after_s: float | None = None
    """``Retry-After`` of answers with 429 and 503."""
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Requests that are answered in each minute of the clock; the rest fail with 429."""
    reported_limit: Annotated[int, Field(ge=1)] | None = None
    """``x-ratelimit-limit-requests`` of answers."""
    always: Act | Status | None = None
    """One act or status for every request."""
    next: tuple[Act | Status, ...] = ()
    """A script: one act or status for each of the next requests.

    After its end the rules above apply again."""
    latency_s: Annotated[float, Field(ge=0.0)] = 0.0
    """Wait before the first byte."""
    tokens_per_s: Annotated[float, Field(gt=0.0)] | None = None
    """Speed of generation; None: unlimited."""
    content: str | None = None
    """Text of answers without a call; None: drawn."""
    preamble: str | None = None
    """Text before the calls of an answer that has any; None: nothing."""
    reasoning: str = ""
    """Reasoning before the text or the calls; not of text completions."""
    arguments: str | None = None
    """Exact arguments of valid calls; None: drawn to fit the tool's schema."""
    prompt_cache: bool = False
    """Report the cached part of a prompt, cached by this or an earlier request."""
    prompt_tokens: int | None = None
    """Usage to report; None: a quarter of the request's characters."""
    completion_tokens: int | None = None
    """Usage to report; None: a quarter of the answer's characters."""


def draw(behaviour: Behaviour, provider: str, number: int) -> Random:
    """Return the source of every draw for one request."""
    return Random(f"{behaviour.seed}/{provider}/{number}")


def decide(behaviour: Behaviour, random: Random, *, tools: bool, forced: bool) -> Act | int:
    """Draw the result of one request without a script.

    Args:
        tools: True if the request offers tools and allows their use.
        forced: True if the request demands a call.

    Returns:
        An act, or an HTTP status to fail with.
    """
    if behaviour.always is not None:
        return behaviour.always
    failing, calling, erring = random.random(), random.random(), random.random()
    if failing < behaviour.failure_rate:
        return behaviour.failure_status
    if behaviour.broken_rate and random.random() < behaviour.broken_rate:
        broken = [kind for kind, weight in behaviour.broken_mix.items() if weight > 0]
        return random.choices(broken, weights=[behaviour.broken_mix[kind] for kind in broken])[0]
    if not tools:
        return Act.VALID
    if not forced and calling >= behaviour.propensity:
        return Act.TEXT
    if erring < behaviour.error_rate:
        kinds = [kind for kind, weight in behaviour.error_mix.items() if weight > 0]
        if kinds:
            return random.choices(kinds, weights=[behaviour.error_mix[kind] for kind in kinds])[0]
    return Act.VALID
