"""Attribution of failed attempts, by their errors.

A status of 400, 413 or 422 rejects a request, and the caller caused it, with two exceptions: a provider that could not
parse its own model's call (Groq's ``tool_use_failed``), and an error that came with the status 200, for which LiteLLM
invents a status.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import openai
from litellm.exceptions import MidStreamFallbackError

_CALLERS: Final = (400, 413, 422)
"""Statuses by which a deployment rejects the client's request.

All others are the deployment's own or its operator's responsibility.
"""

_TOO_MANY: Final = 429

_FAILED_CALL: Final = "tool_use_failed"
_FAILED_CALL_IN_TEXT: Final = re.compile(r'"code"\s*+:\s*+"tool_use_failed"')
_UNREADABLE: Final = "Error converting to valid response block"
"""LiteLLM's words for a body with the status 200 that it cannot read; their status is 422."""
_REPEATING: Final = "The model is repeating the same chunk"
"""LiteLLM's words for a stream that it ends itself, after 100 chunks of one text: no error of the provider."""
_MOST_CAUSES: Final = 6
_OK: Final = 200
_CONNECTIONS: Final = ("httpx", "httpcore", "aiohttp", "h11", "ssl", "socket", "asyncio")
"""Modules whose errors mean that the connection broke off, and not that the provider reported an error."""


class ErrorInAnswerError(Exception):
    """Stands for an error in an answer that LiteLLM passes on."""

    status_code = _OK


def is_callers_fault(error: BaseException | None) -> bool:
    """Return whether an error rejects the request.

    Such an error is no evidence about its deployment.

    Args:
        error: of LiteLLM, with its causes; None if it is unknown.
    """
    if error is None or getattr(error, "status_code", None) not in _CALLERS:
        return False
    return not any(_is_deployments(each) for each in _causes(error))


def is_refusal(error: BaseException | None) -> bool:
    """Return whether a provider refused an attempt for a rate limit.

    LiteLLM's own limits of keys, teams and deployments have the same status: they say so by their category, or name
    no provider.
    """
    if error is None or getattr(error, "status_code", None) != _TOO_MANY:
        return False
    category = str(getattr(error, "category", ""))
    return bool(getattr(error, "llm_provider", None)) and not category.startswith("litellm")


def is_error_in_answer(error: BaseException | None, *, streamed: bool) -> bool:
    """Return whether an error came inside an answer with the status 200.

    Args:
        error: of LiteLLM, with its causes; None if it is unknown.
        streamed: whether it ended a stream that had begun.
    """
    if error is None:
        return False
    causes = list(_causes(error))
    if any(_REPEATING in str(each) for each in causes):
        return False
    if any(getattr(each, "status_code", None) == _OK or _is_made_up(each) for each in causes):
        return True
    broken = any(
        type(each).__module__.split(".")[0] in _CONNECTIONS or isinstance(each, TimeoutError | openai.APITimeoutError)
        for each in causes
    )
    # The client of OpenAI raises an error event as this class itself, and failed statuses as classes of their own.
    begun = any(isinstance(each, MidStreamFallbackError) or type(each) is openai.APIError for each in causes)
    return (streamed or begun) and not broken


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__


def _is_deployments(error: BaseException) -> bool:
    if _is_made_up(error):
        return True
    body = getattr(error, "body", None)
    code = body.get("code") if isinstance(body, Mapping) else None
    if _FAILED_CALL in (code, getattr(error, "code", None)):
        return True
    text = str(error)
    return _FAILED_CALL_IN_TEXT.search(text) is not None


def _is_made_up(error: BaseException) -> bool:
    """Check for an error with the status 200, for which LiteLLM makes up another."""
    return (type(error) is Exception and hasattr(error, "status_code")) or _UNREADABLE in str(error)
