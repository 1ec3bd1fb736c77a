"""Detects a provider's error message in the place of an answer's text.

Some gateways answer 200 and write the error of their upstream, mostly about credit, quota or load, as the model's
text. Such a text is short, begins with one of a few fixed phrases, and has a second sign of an error. A request that
asks about errors, or for words of this kind, gets such a text from a good model as well, so it is then none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.text_beginnings import TextBeginnings

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CHARS: Final = 600
"""Characters of the longest text that can be an error message; longer ones are answers."""

BEGINNINGS: Final = (
    "you exceeded your current quota", "you have exceeded your current quota", "you've exceeded your current quota",
    "you have exceeded your monthly included credits", "you have reached your api usage limit",
    "insufficient credit", "insufficient balance", "insufficient quota", "insufficient_quota",
    "your credit balance is too low", "this request requires more credits", "payment required", "quota exceeded",
    "rate limit exceeded", "rate limit reached for", "rate_limit_exceeded", "too many requests",
    "error code: 4", "error code: 5", "error: 4", "error: 5", "http 4", "http 5", "http error 4", "http error 5",
    "internal server error", "service unavailable", "service temporarily unavailable", "bad gateway",
    "502 bad gateway", "503 service", "504 gateway", "gateway time", "upstream connect error", "upstream error",
    "upstream request timeout", "no healthy upstream", "the model is overloaded", "model is overloaded",
    "the model is currently overloaded", "the server is overloaded", "the server had an error",
    "the engine is currently overloaded", "engine is currently overloaded", "overloaded_error",
    "invalid api key", "incorrect api key provided", "authentication fails", "provider returned error",
    "your account is not active", "your account has been suspended", "your organization has been disabled",
    "an error occurred while processing your request",
    "\u4f59\u989d\u4e0d\u8db3", "\u8d26\u6237\u4f59\u989d\u4e0d\u8db3",
    "<html><head><title>50", "<html>\r\n<head><title>50", "<html>\n<head><title>50",
    '{"error":', '{"type":"error"', '{"type": "error"', '{ "error":',
)  # fmt: skip
"""Beginnings in small letters, as providers write them (OpenAI, OpenRouter, Hugging Face, Anthropic, DeepSeek,
Moonshot, nginx, Envoy)."""

_LONGEST_BEGINNING: Final = max(map(len, BEGINNINGS))
_BEGINNINGS: Final = TextBeginnings(BEGINNINGS)

_SIGNS: Final = (
    "please", "try again", "billing", "upgrade", "recharge", "retry", "request id", "request_id", "contact", "https://",
    "status", "max_tokens", "credits", "nginx", "cloudflare", "overloaded", "exceeded", "api key", "deployment",
    "disconnect/reset", "openai", "provider", "\u8bf7", "\u5145\u503c",
)  # fmt: skip
"""A second sign, somewhere in the text."""
_ERROR_KINDS: Final = re.compile(
    r'"(?:type|code|status|status_code)"\s*:\s*(?:[45]\d\d\b|"(?:[45]\d\d|[a-z_]*(?:error|quota|limit|overloaded|credit'
    r'|billing|balance|unavailable|timeout|exceeded|denied)[a-z_]*)")',
    re.IGNORECASE,
)
_ASKING: Final = re.compile(
    r"translat|error|messag|http|status|quota|credit|billing|balance|limit|overload|rewrite|rephrase|repeat|echo|json"
    r"|reply|respond|phrase|\bsay\b|write|draft|\b[45]\d\d\b|unavailab|gateway|server|upstream|\bapis?\b|[^\x00-\u02ff]",
    re.IGNORECASE,
)
"""Signs that the request itself is about such words; letters beyond Latin ones may ask for a translation."""


def is_provider_error(text: str, asked: Callable[[], str] = str) -> bool:
    """Check for a provider's error message in the place of the answer.

    Args:
        text: the whole text of the answer.
        asked: returns the request's last message, read when the text is such a message.

    >>> is_provider_error("Insufficient credits. Please visit https://openrouter.ai/credits")
    True
    >>> is_provider_error("Insufficient balance is a bank's word.")
    False
    """
    said = text.strip()
    if len(said) > MOST_CHARS:
        return False
    if not said[:_LONGEST_BEGINNING].lower().startswith(BEGINNINGS):
        return False
    lowered = said.lower()
    if said.startswith("{"):
        return _ERROR_KINDS.search(said) is not None and "message" in lowered and not _ASKING.search(asked())
    rest = lowered[len(next(one for one in BEGINNINGS if lowered.startswith(one))) :]
    return any(sign in rest for sign in _SIGNS) and not _ASKING.search(asked())


def may_be_error(beginning: str) -> bool:
    """Check that a text begins as an error message does, as far as it is there."""
    begun = beginning.lstrip().lower()
    if len(begun) > MOST_CHARS:
        return False
    return _BEGINNINGS.may_begin(begun)
