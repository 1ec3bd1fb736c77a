"""A tool choice is understood in every form that clients send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.scoring.tool_choice import FREE, ChoiceMode, ToolChoice, as_sent, read_choice

NONE = ToolChoice(ChoiceMode.NONE)
SOME = ToolChoice(ChoiceMode.REQUIRED)
F = ToolChoice(ChoiceMode.REQUIRED, frozenset({"f"}))
NAMED_IN_CHAT = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("choice", "demand"),
    [
        (None, FREE), ("auto", FREE), ("none", NONE), ("required", SOME), ("any", SOME),
        (NAMED_IN_CHAT, F),
        ({"type": "function", "name": "f"}, F),
        ({"type": "custom", "custom": {"name": "f"}}, F),
        ({"type": "custom", "name": "f"}, F),
        ({"name": "f"}, F),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED_IN_CHAT]}}, F),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
         ToolChoice(ChoiceMode.AUTO, frozenset({"f"}))),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}, {"type": "mcp"}]},
         SOME),
        ({"type": "file_search"}, FREE),
        ({"type": "mcp", "server_label": "files"}, FREE),
        ({"type": "auto"}, FREE), ({"type": "any", "disable_parallel_tool_use": True}, SOME), ({"type": "none"}, NONE),
        ({"type": "tool", "name": "f"}, F),
        ({"auto": {}}, FREE), ({"any": {}}, SOME), ({"tool": {"name": "f"}}, F),
        ({"functionCallingConfig": {"mode": "AUTO"}}, FREE),
        ({"functionCallingConfig": {"mode": "NONE"}}, NONE),
        ({"functionCallingConfig": {"mode": "ANY"}}, SOME),
        ({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}, F),
        ({"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}}, F),
        ({"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}},
         ToolChoice(ChoiceMode.AUTO, frozenset({"f"}))),
        ({"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}}, FREE),
    ],
    ids=str,
)  # fmt: skip
def test_forms(choice: object, demand: ToolChoice) -> None:
    """OpenAI chat, its older functions, Responses, Anthropic, Bedrock and Gemini."""
    assert read_choice(choice) == demand


ODD: list[object] = [
    "sometimes", "", 5, True, [], ["f"], {}, {"type": None}, {"type": 5}, {"type": "function"}, {"type": "tool"},
    {"type": "function", "function": {"name": 5}}, {"type": "function", "function": "f"}, {"function": {}},
    {"type": "allowed_tools"}, {"type": "allowed_tools", "tools": "f"}, {"type": "allowed_tools", "allowed_tools": 5},
    {"functionCallingConfig": {}}, {"functionCallingConfig": {"mode": 5}}, {"functionCallingConfig": None},
]  # fmt: skip


@pytest.mark.parametrize("choice", ODD, ids=str)
def test_what_is_no_choice_demands_nothing(choice: object) -> None:
    """A form that nobody knows blames nobody."""
    assert read_choice(choice) == FREE


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["type", "function", "name", "mode", "tools", "allowed_tools", "functionCallingConfig",
                     "allowedFunctionNames", "any"]), inner), max_leaves=12))  # fmt: skip
def test_nothing_that_json_can_say_raises(choice: object) -> None:
    """Whatever the client sent."""
    assert read_choice(choice).mode in ChoiceMode


@pytest.mark.parametrize(
    ("asked", "sent", "left"),
    [
        (SOME, None, FREE),
        (SOME, "auto", FREE),
        (SOME, {"type": "any"}, SOME),
        (SOME, {"toolChoice": {"any": {}}, "tools": []}, SOME),
        (F, None, FREE),
        (F, "required", SOME),
        (F, {"type": "tool", "name": "another"}, F),
        (NONE, None, FREE),
        (NONE, {"type": "none"}, NONE),
        (NONE, "required", FREE),
    ],
    ids=str,
)
def test_only_what_was_sent_is_required(asked: ToolChoice, sent: object, left: ToolChoice) -> None:
    """A choice that did not reach the provider requires nothing; the names are the client's."""
    assert as_sent(asked, read_choice(sent)) == left
