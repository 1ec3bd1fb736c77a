"""Calls that a provider runs itself are nobody's fault, and calls that look like them are judged."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.provider_calls import is_providers_own

FUNCTION: dict[str, Any] = {"type": "function", "name": "f", "parameters": {}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
X_SEARCH = {"type": "x_search"}
PATCH = {"type": "custom", "name": "apply_patch"}


@pytest.mark.parametrize(
    ("call", "tools", "sent", "own"),
    [
        (ToolCall("web_search", "{}", "srvtoolu_1"), [FUNCTION], [], True),
        (ToolCall("web_search", "{}", "call_1"), [FUNCTION], [FUNCTION, SEARCH], True),
        (ToolCall("nova_grounding", "{}"), [FUNCTION], [{"systemTool": {"name": "nova_grounding"}}], True),
        (ToolCall("x_keyword_search", "{}", custom=True), [FUNCTION, X_SEARCH], [], True),
        (ToolCall("web_search", "{}", "call_1"), [FUNCTION], [FUNCTION], False),
        (ToolCall("web_search", "{}", "call_1"), [FUNCTION, SEARCH], [FUNCTION, SEARCH], False),
        (ToolCall("g", "{}", "call_1"), [FUNCTION], [FUNCTION, {"type": "function", "name": "g"}], False),
        (ToolCall("f", "{}", "srvtoolu_1"), [FUNCTION], [], False),
        (ToolCall("x_keyword_search", "{}"), [FUNCTION, X_SEARCH], [], False),
        (ToolCall("x_keyword_search", "{}", custom=True), [FUNCTION], [], False),
        (ToolCall("x_keyword_search", "{}", custom=True), [FUNCTION, {"type": "web_search"}, PATCH], [], False),
        (ToolCall("apply_patch", "x", custom=True), [X_SEARCH, PATCH], [], False),
    ],
)
def test_own_calls(call: ToolCall, tools: list[Any], sent: list[Any], own: bool) -> None:
    """By the id, by a built-in tool that only the provider got, or as free text that no listed tool explains."""
    assert is_providers_own(call, tools, lambda: sent) is own
