"""A rejected request is the caller's, a call that the provider could not parse is not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from litellm.exceptions import BadRequestError, RateLimitError

from exacto_plugin.litellm_hooks.scoring.failures import is_callers_fault, is_refusal


def rejected(
    message: str = "bad", status: int = 400, body: Any = None, cause: BaseException | None = None
) -> Exception:
    """LiteLLM's error of a rejected request."""
    response = httpx.Response(status, request=httpx.Request("POST", "http://127.0.0.1"))
    error = BadRequestError(message, "m", "openai", response=response, body=body)
    error.status_code = status  # type: ignore[assignment]
    error.__cause__ = cause
    return error


def made_up(status: int) -> Exception:
    """The plain exception that LiteLLM makes of an error in a body with the status 200."""
    error = Exception()
    error.status_code = status  # type: ignore[attr-defined]
    return error


FAILED = {"message": "Failed to call a function.", "code": "tool_use_failed", "failed_generation": "x"}


@pytest.mark.parametrize(
    ("error", "callers"),
    [
        (rejected(), True),
        (rejected(status=422, body={"detail": []}), True),
        (rejected(body={"code": "context_length_exceeded"}), True),
        (rejected('{"error": {"message": "the word tool_use_failed", "code": "x"}}'), True),
        (rejected(cause=ValueError("tool")), True),
        (rejected(body=FAILED), False),
        (rejected('{"error": {"code": "tool_use_failed"}}'), False),
        (rejected(cause=rejected(body=FAILED)), False),
        (rejected(status=422, cause=made_up(422)), False),
        (rejected(cause=made_up(422)), False),
        (rejected("Error converting to valid response block='args'.", 422), False),
        (RateLimitError("busy", "openai", "m"), False),
        (ConnectionError(), False),
        (None, False),
    ],
)
def test_whose_failure_it_is(error: BaseException | None, callers: bool) -> None:
    """By the status, except where the provider, or LiteLLM, could not read an answer of the model."""
    assert is_callers_fault(error) is callers


def test_causes_in_a_circle_end() -> None:
    """Errors may be each other's context."""
    first, second = rejected(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert is_callers_fault(first)


class _OwnLimit(Exception):
    """A limit of LiteLLM's own that names the provider."""

    status_code, llm_provider, category = 429, "openai", "litellm_rate_limit"


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (RateLimitError("busy", "openai", "m"), True),
        (RateLimitError("Deployment over defined rpm limit", "", "m"), False),
        (_OwnLimit(), False),
        (made_up(429), False),
        (rejected(), False),
        (None, False),
    ],
)
def test_a_refusal_is_a_providers(error: BaseException | None, refused: bool) -> None:
    """The status alone does not tell: LiteLLM limits keys, teams and deployments with it too."""
    assert is_refusal(error) is refused
