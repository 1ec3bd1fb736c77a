"""Names that LiteLLM shortens are known again, and no other name is taken for one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from exacto_plugin.litellm_hooks.scoring.short_names import full_name, short_name, with_short_names

LONG = "mcp__plugin_chrome-devtools-mcp_chrome-devtools__performance_analyze_insight"
TOOLS: list[dict[str, Any]] = [
    {"name": LONG, "input_schema": {}},
    {"name": LONG + "s", "input_schema": {}},
    {"name": "Read"},
]


@pytest.mark.parametrize("name", ["Read", "x" * 64, "x" * 65, LONG, LONG + "s"])
def test_short_names_are_litellms(name: str) -> None:
    """The same as LiteLLM's own, wherever its version has it."""
    # The second is the first's name until 1.109, and warns since.
    for place in ("llms.anthropic.messages.adapters", "llms.anthropic.pass_through.adapters"):
        try:
            transformation = import_module(f"litellm.{place}.transformation")
        except ImportError:
            continue
        assert short_name(name) == transformation.truncate_tool_name(name)
        return
    pytest.fail("LiteLLM's function was not found")


def test_a_short_name_is_the_tool_that_it_was_made_of() -> None:
    """Tools that begin alike are told apart, and other names stay."""
    for name in (LONG, LONG + "s", "Read"):
        assert full_name(short_name(name), TOOLS) == name
    for name in (short_name(LONG + "x"), LONG[:64], "x" * 64, ""):
        assert full_name(name, TOOLS) == name


def test_long_names_are_known_in_both_forms() -> None:
    """With the same schema; tools without one are left as they are."""
    both = with_short_names(TOOLS)
    assert [tool["name"] for tool in both] == [
        *(tool["name"] for tool in TOOLS),
        short_name(LONG),
        short_name(LONG + "s"),
    ]
    assert both[3]["input_schema"] is TOOLS[0]["input_schema"]
    others: list[Any] = [{"name": "Read"}, {"function": {"name": LONG}}, 5]
    assert with_short_names(others) is others
