"""The requests a minute that the headers of an answer allow."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.litellm_hooks.scoring.log_event import request_limit_in

OPENAI, ANTHROPIC = "llm_provider-x-ratelimit-limit-requests", "llm_provider-anthropic-ratelimit-requests-limit"


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        ({OPENAI: "60"}, 60.0),
        ({ANTHROPIC: "50"}, 50.0),
        ({"x_ratelimit_limit_requests": 500}, None),
        ({OPENAI: "0"}, None),
        ({OPENAI: "-1"}, None),
        ({OPENAI: "1e9"}, None),
        ({OPENAI: "9" * 40}, None),
        ({OPENAI: ["60"]}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_limit_is_a_providers_own_number(headers: Any, limit: float | None) -> None:
    """Headers without LiteLLM's prefix may be its own, and nothing but a whole number counts."""
    event = {"standard_logging_object": {"hidden_params": {"additional_headers": headers}}}
    assert request_limit_in(event) == limit
    assert request_limit_in({}) is None
