"""Tools are found by name in every form that clients send."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, overload

import pytest

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.core.scoring.tools import ToolKind, complexity, find_tool, find_tools, is_one_of, is_open_set

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}

FORMS: dict[str, object] = {
    "openai chat": {"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}},
    "openai chat without type": {"function": {"name": "weather", "parameters": SCHEMA}},
    "openai functions": {"name": "weather", "parameters": SCHEMA},
    "responses": {"type": "function", "name": "weather", "parameters": SCHEMA},
    "anthropic": {"name": "weather", "input_schema": SCHEMA},
    "anthropic custom": {"type": "custom", "name": "weather", "input_schema": SCHEMA},
    "bedrock": {"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}},
    "gemini": {"function_declarations": [{"name": "other"}, {"name": "weather", "parameters": SCHEMA}]},
    "gemini rest": {"functionDeclarations": [{"name": "weather", "parametersJsonSchema": SCHEMA}]},
    "gemini python": {"function_declarations": [{"name": "weather", "parameters_json_schema": SCHEMA}]},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_function_is_found_with_its_schema(form: str) -> None:
    """Alone, behind tools of other forms, and in front of them."""
    others: list[object] = [entry for key, entry in FORMS.items() if key != form and "weather" not in str(entry)]
    other: object = {"type": "function", "function": {"name": "other", "parameters": {}}}
    for tools in ([FORMS[form]], [other, {"type": "web_search"}, FORMS[form]], [FORMS[form], other, *others]):
        found = find_tool(tools, "weather")
        assert found is not None
        assert found.kind is ToolKind.FUNCTION
        assert found.parameters is SCHEMA


@pytest.mark.parametrize("form", FORMS)
def test_another_name_is_unknown(form: str) -> None:
    """Names are compared exactly, and no name matches nothing."""
    for name in ("Weather", "weather ", "weathe", "", "function"):
        assert find_tool([FORMS[form]], name) is None


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "function", "function": {"name": "now"}},
        {"type": "function", "function": {"name": "now", "parameters": None}},
        {"type": "function", "name": "now"},
        {"toolSpec": {"name": "now"}},
        {"function_declarations": [{"name": "now"}]},
    ],
)
def test_a_function_without_parameters_has_no_schema(entry: object) -> None:
    """It is offered all the same."""
    assert find_tool([entry], "now") == (ToolKind.FUNCTION, None)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"type": "web_search"}, "web_search"),
        ({"type": "web_search_20250305", "name": "web_search", "max_uses": 5}, "web_search"),
        ({"type": "web_search_preview"}, "web_search"),
        ({"type": "computer_20250124", "name": "computer"}, "computer"),
        ({"type": "openrouter:web_search", "parameters": {"engine": "exa"}}, "openrouter:web_search"),
        ({"google_search": {}}, "google_search"),
        ({"googleSearch": {}}, "googleSearch"),
        ({"codeExecution": {}}, "codeExecution"),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, "code_interpreter"),
        ({"type": "file_search", "vector_store_ids": ["v"]}, "file_search"),
        ({"type": "computer_use_preview", "display_width": 800}, "computer_use"),
        ({"type": "image_generation"}, "image_generation"),
        ({"type": "local_shell"}, "local_shell"),
        ({"type": "apply_patch"}, "apply_patch"),
        ({"type": "bash_20250124", "name": "bash"}, "bash"),
        ({"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}, "str_replace_based_edit_tool"),
        ({"type": "web_fetch_20250910", "name": "web_fetch"}, "web_fetch"),
        ({"type": "memory_20250818", "name": "memory"}, "memory"),
        ({"type": "code_execution_20250825", "name": "code_execution"}, "code_execution"),
        ({"type": "code_execution_20250825", "name": "code_execution"}, "bash_code_execution"),
        ({"type": "code_execution_20250825", "name": "code_execution"}, "text_editor_code_execution"),
        ({"systemTool": {"name": "nova_grounding"}}, "nova_grounding"),
    ],
)
def test_a_built_in_tool_is_known_without_a_schema(entry: object, name: str) -> None:
    """A call that names a tool of the provider's own is no unknown name."""
    found = find_tool([FORMS["openai chat"], entry], name)
    assert found is not None
    assert found.kind is ToolKind.BUILT_IN
    assert find_tool([entry], "weather") is None


@pytest.mark.parametrize(
    "entry",
    [{"type": "custom", "custom": {"name": "sql"}}, {"type": "custom", "name": "sql", "format": {"type": "text"}}],
)
def test_a_custom_tool_takes_free_text(entry: object) -> None:
    """OpenAI's custom tools, in chat and in Responses, carry no JSON."""
    found = find_tool([entry], "sql")
    assert found is not None
    assert found.kind is ToolKind.FREE_TEXT


@pytest.mark.parametrize("form", FORMS)
def test_calls_are_judged_alike_in_every_form(form: str) -> None:
    """The same tool, however it is offered: right and wrong arguments, and a name that is not offered."""
    judge, tools = Evaluator(), [FORMS[form]]
    for name, arguments, outcome in (
        ("weather", '{"city": "Lisbon"}', Outcome.VALID),
        ("weather", {"city": "Lisbon"}, Outcome.VALID),
        ("weather", '{"city": 5}', Outcome.SCHEMA_MISMATCH),
        ("weather", '{"city": "Lis', Outcome.INVALID_JSON),
        ("forecast", "{}", Outcome.UNKNOWN_NAME),
    ):
        assert judge.evaluate(ToolCall(name, arguments), tools) == Evaluation(outcome)


GEMINI = {
    "type": "OBJECT",
    "properties": {
        "city": {"type": "STRING", "nullable": True, "enum": ["Lisbon", "Porto"]},
        "days": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "1"},
        "at": {"anyOf": [{"type": "NUMBER"}, {"type": "OBJECT", "properties": {"hour": {"type": "INTEGER"}}}]},
    },
    "required": ["city"],
}


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ({"city": "Lisbon", "days": [1], "at": {"hour": 5}}, Outcome.VALID),
        ({"city": None}, Outcome.VALID),
        ({"city": "Faro"}, Outcome.SCHEMA_MISMATCH),
        ({"city": "Porto", "days": []}, Outcome.SCHEMA_MISMATCH),
        ({"city": "Porto", "days": ["1"]}, Outcome.SCHEMA_MISMATCH),
        ({"city": "Porto", "at": {"hour": "5"}}, Outcome.SCHEMA_MISMATCH),
        ({}, Outcome.SCHEMA_MISMATCH),
    ],
)
def test_geminis_own_types_are_understood(arguments: dict[str, object], outcome: Outcome) -> None:
    """Its declarations write types in capitals; in any other form that is no type, as published."""
    before = copy.deepcopy(GEMINI)
    tools = [{"functionDeclarations": [{"name": "weather", "parameters": GEMINI}]}]
    assert Evaluator().evaluate(ToolCall("weather", arguments), tools) == Evaluation(outcome)
    assert before == GEMINI
    chat = [{"type": "function", "function": {"name": "weather", "parameters": GEMINI}}]
    assert Evaluator().evaluate(ToolCall("weather", arguments), chat) == Evaluation(Outcome.VALID, "not_compilable")


def test_schemas_of_gemini_may_be_anything() -> None:
    """Odd ones are left to the engine to refuse, and depth has an end."""
    deep: dict[str, object] = {"type": "STRING"}
    for _ in range(500):
        deep = {"type": "ARRAY", "items": deep}
    odd: list[object] = [None, 5, "STRING", [], {"type": ["STRING"]}, {"type": "OBJECT", "properties": 5}, deep]
    odd.append({"type": "OBJECT", "anyOf": 5, "items": 5, "minItems": "many"})
    for schema in odd:
        tools = [{"functionDeclarations": [{"name": "weather", "parameters": schema}]}]
        assert Evaluator().evaluate(ToolCall("weather", "{}"), tools).outcome is not Outcome.UNSCORED


def test_the_first_of_two_tools_of_one_name_counts() -> None:
    """As a client that looks it up would find it."""
    first, second = {"name": "a", "parameters": {"type": "object"}}, {"name": "a", "parameters": {"type": "array"}}
    found = find_tool([first, second], "a")
    assert found is not None
    assert found.parameters is first["parameters"]


ODD_ENTRIES: list[object] = [
    None, 5, "tool", [], {}, object(), {"function": None}, {"function": "f"}, {"function": {}},
    {"type": 5}, {"name": 5}, {"function_declarations": 5}, {"function_declarations": [5]}, {"toolSpec": []},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_ENTRIES)
def test_odd_entries_are_passed_over(odd: object) -> None:
    """Whatever a client sends, the other tools are still found and nothing is raised."""
    found = find_tool([odd, FORMS["openai chat"]], "weather")
    assert found is not None
    assert find_tool([odd], "weather") is None
    assert complexity([odd]) == 0


def test_tools_from_elsewhere_make_the_set_open() -> None:
    """With an MCP server among the tools, an unlisted name may be right; a tool search finds listed ones only."""
    assert not is_open_set(list(FORMS.values()))
    for kind in ("web_search", "file_search", "code_interpreter", "computer_use_preview", "local_shell", "tool_search"):
        assert not is_open_set([FORMS["openai chat"], {"type": kind}])
    assert not is_open_set([FORMS["openai chat"], {"type": "web_search_20250305", "name": "web_search"}])
    for kind in ("mcp", "mcp_toolset", "namespace", "x_search"):
        assert is_open_set([FORMS["openai chat"], {"type": kind}])
    assert is_open_set([object()])


SPACE: dict[str, Any] = {
    "type": "namespace",
    "name": "agents",
    "tools": [{"type": "function", "name": "spawn", "parameters": {"type": "object", "required": ["task"]}}],
}


@pytest.mark.parametrize("name", ["spawn", "agents.spawn", "agents__spawn"])
def test_tools_of_a_namespace_are_offered(name: str) -> None:
    """Under their own name, and with their namespace in front, with their schema."""
    for tools in ([SPACE], [FORMS["openai chat"], SPACE]):
        found = find_tool(tools, name)
        assert found is not None
        assert found.parameters == {"type": "object", "required": ["task"]}


def test_a_namespace_that_lists_its_tools_is_closed() -> None:
    """Its own name is none of them; without a list, or with an open member, anything may be one."""
    assert not is_open_set([SPACE])
    for name in ("agents", "agents.", "other.spawn", "agents.close", "agentsspawn"):
        assert find_tool([SPACE], name) is None
    assert is_open_set([{**SPACE, "tools": []}])
    assert is_open_set([{**SPACE, "tools": [{"type": "mcp", "server_label": "x"}]}])
    assert complexity([SPACE]) == complexity(SPACE["tools"])


def test_a_choice_names_a_tool_with_or_without_its_namespace() -> None:
    """Other tools whose names end alike are others."""
    assert all(is_one_of([SPACE], name, {"spawn"}) for name in ("spawn", "agents.spawn", "agents__spawn"))
    assert not is_one_of([SPACE], "github__spawn", {"spawn"})
    assert not is_one_of([], "agents.spawn", {"spawn"})


def test_every_tool_of_a_name_is_found() -> None:
    """In their order, and a built-in one by another name only where none has the name."""
    first, second = ({"name": "f", "input_schema": {"type": "object", "title": title}} for title in "ab")
    assert [tool.parameters for tool in find_tools([first, FORMS["openai chat"], second], "f")] == [
        first["input_schema"],
        second["input_schema"],
    ]
    shell = {"type": "bash_20250124", "name": "bash"}
    run = {"name": "run_bash", "input_schema": {"type": "object"}}
    assert [tool.kind for tool in find_tools([shell, run], "run_bash")] == [ToolKind.FUNCTION]
    assert [tool.kind for tool in find_tools([shell], "run_bash")] == [ToolKind.BUILT_IN]


@pytest.mark.parametrize(
    ("tools", "properties", "bucket"),
    [(0, 0, 0), (1, 3, 0), (4, 1, 0), (3, 3, 1), (14, 2, 2), (50, 5, 3), (200, 0, 3), (1, 200, 3)],
)
def test_complexity_grows_with_tools_and_properties(tools: int, properties: int, bucket: int) -> None:
    """From one small tool to an agent's whole belt, in every form alike."""
    schema = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(properties)}}
    chat = [{"type": "function", "function": {"name": f"t{number}", "parameters": schema}} for number in range(tools)]
    flat = [{"name": f"t{number}", "input_schema": schema} for number in range(tools)]
    gemini = [{"function_declarations": [{"name": f"t{number}", "parameters": schema} for number in range(tools)]}]
    assert complexity(chat) == complexity(flat) == complexity(gemini) == bucket


class CountingTools(Sequence[object]):
    """Many tools that count how many of them were looked at."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.seen = 0

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> object: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[object]: ...
    def __getitem__(self, index: int | slice) -> object:
        raise NotImplementedError

    def __iter__(self) -> Iterator[object]:
        for _ in range(self.length):
            self.seen += 1
            yield FORMS["openai chat"]


def test_complexity_stops_looking_when_the_last_bucket_is_reached() -> None:
    """A request with ten thousand tools costs no more than one with a hundred."""
    tools = CountingTools(10_000)
    assert complexity(tools) == 3
    assert tools.seen <= 129
