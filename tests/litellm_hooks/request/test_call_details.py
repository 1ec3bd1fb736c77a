"""The tools of a request are found wherever it has them."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.litellm_hooks.request.call_details import (
    CHOICE_KEY,
    TOOLS_KEY,
    keep_tools,
    offered_tools,
    offers_tools,
)

TOOL: dict[str, Any] = {"type": "function", "name": "f", "parameters": {"type": "object"}}
FOUND: dict[str, Any] = {"type": "namespace", "name": "n", "tools": [TOOL]}
USER: dict[str, Any] = {"type": "message", "role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("request_", "tools"),
    [
        ({"tools": [TOOL]}, [TOOL]),
        ({"functions": [TOOL]}, [TOOL]),
        ({"input": [{"type": "additional_tools", "tools": [FOUND]}, USER]}, [FOUND]),
        ({"tools": [TOOL], "input": [USER, {"type": "tool_search_output", "tools": [FOUND]}]}, [TOOL, FOUND]),
        ({"input": [{"type": "additional_tools", "tools": [TOOL]}, {"type": "additional_tools", "tools": [FOUND]}]},
         [TOOL, FOUND]),
    ],
)  # fmt: skip
def test_tools_of_a_request(request_: dict[str, Any], tools: list[Any]) -> None:
    """In their list, in the older one, and in items of the input."""
    assert offers_tools(request_)
    assert offered_tools(request_) == tools


@pytest.mark.parametrize(
    "given",
    [None, "text", ["text", 5, None], [USER], [{"type": "additional_tools"}], [{"type": "other", "tools": [TOOL]}],
     [{"type": "additional_tools", "tools": []}], [{"type": "additional_tools", "tools": "none"}]],
)  # fmt: skip
def test_inputs_without_tools(given: object) -> None:
    """Texts, odd items, and items whose tools are none."""
    assert not offers_tools({"input": given})
    assert list(offered_tools({"input": given})) == []


def test_a_list_of_tools_is_not_copied() -> None:
    """Requests carry hundreds of them."""
    tools = [TOOL]
    assert offered_tools({"tools": tools, "input": [USER]}) is tools


def test_tools_and_choice_are_kept_once() -> None:
    """A call that LiteLLM begins again has translated tools."""
    details: dict[str, Any] = {}
    keep_tools(details, {"tool_choice": "required"})
    assert details == {}
    keep_tools(details, {"tools": [TOOL], "tool_choice": "required"})
    keep_tools(details, {"tools": [FOUND], "tool_choice": "auto"})
    assert details == {TOOLS_KEY: [TOOL], CHOICE_KEY: "required"}
