"""Leaked calls are found in every model's markup, and prose about markup is left alone."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.scoring.call_formats import FORMATS
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.leaked_calls import MOST_CHARS, find_leaked_calls, has_leaked_call, lost_calls

TOOLS: list[Any] = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
ARGUMENTS = '{"city": "Lisbon"}'

LEAKS = {
    "kimi k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>ARGS"
    "<|tool_call_end|><|tool_calls_section_end|>",
    "kimi k2 without section": "<|tool_call_begin|>NAME<|tool_call_argument_begin|>ARGS<|tool_call_end|>",
    "hermes": '<tool_call>\n{"name": "NAME", "arguments": ARGS}\n</tool_call>',
    "hermes arguments first": '<tool_call>{"arguments": ARGS, "name": "NAME"}</tool_call>',
    "hermes, not closed": '<tool_call>\n{"name": "NAME", "arguments": ARGS}',
    "qwen3-coder": "<tool_call>\n<function=NAME>\n<parameter=city>\nLisbon\n</parameter>\n</function>\n</tool_call>",
    "qwen3-coder without tag": "<function=NAME>\n<parameter=city>\nLisbon\n</parameter>\n</function>\n</tool_call>",
    "glm": "<tool_call>NAME\n<arg_key>city</arg_key>\n<arg_value>Lisbon</arg_value>\n</tool_call>",
    "glm 4.7": "<tool_call>NAME<arg_key>city</arg_key><arg_value>Lisbon</arg_value></tool_call>",
    "glm without arguments": "<tool_call>NAME</tool_call>",
    "deepseek v3": "<\uff5ctool\u2581calls\u2581begin\uff5c>"
    "<\uff5ctool\u2581call\u2581begin\uff5c>function<\uff5ctool\u2581sep\uff5c>NAME\n```json\nARGS\n```"
    "<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>",
    "deepseek v3.1": "<\uff5ctool\u2581calls\u2581begin\uff5c>"
    "<\uff5ctool\u2581call\u2581begin\uff5c>NAME<\uff5ctool\u2581sep\uff5c>ARGS<\uff5ctool\u2581call\u2581end\uff5c>"
    "<\uff5ctool\u2581calls\u2581end\uff5c>",
    "deepseek v3.2": '<\uff5cDSML\uff5cfunction_calls>\n<\uff5cDSML\uff5cinvoke name="NAME">\n'
    '<\uff5cDSML\uff5cparameter name="city" string="true">Lisbon</\uff5cDSML\uff5cparameter>\n'
    "</\uff5cDSML\uff5cinvoke>\n</\uff5cDSML\uff5cfunction_calls>",
    "minimax": '<minimax:tool_call>\n<invoke name="NAME">\n<parameter name="city">Lisbon</parameter>\n</invoke>\n'
    "</minimax:tool_call>",
    "mistral": '[TOOL_CALLS][{"name": "NAME", "arguments": ARGS}]',
    "mistral v11": "[TOOL_CALLS]NAME[ARGS]ARGS",
    "mistral v13": "[TOOL_CALLS]NAME[CALL_ID]a1B2c3D4e[ARGS]ARGS",
    "harmony": "<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>ARGS",
    "harmony, by role": "<|start|>assistant to=functions.NAME<|channel|>commentary json<|message|>ARGS<|call|>",
    "llama 3": '<|python_tag|>{"name": "NAME", "parameters": ARGS}',
    "llama 4": '<|python_start|>{"name": "NAME", "parameters": ARGS}<|python_end|>',
    "llama 4 pythonic": '<|python_start|>[NAME(city="Lisbon")]<|python_end|>',
    "cohere": '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "NAME", "parameters": ARGS}]<|END_ACTION|>',
    "nemotron": '<TOOLCALL>[{"name": "NAME", "arguments": ARGS}]</TOOLCALL>',
    "granite": '<|tool_call|>[{"name": "NAME", "arguments": ARGS}]',
    "phi": '<|tool_call|>[{"name": "NAME", "arguments": ARGS}]<|/tool_call|>',
    "gemma 4": '<|tool_call>call:NAME{city:<|"|>Lisbon<|"|>}<tool_call|>',
    "function gemma": "<start_function_call>call:NAME{city:<escape>Lisbon<escape>}<end_function_call>",
    "jamba": '<tool_calls>[{"name": "NAME", "arguments": ARGS}]</tool_calls>',
    "internlm": '<|action_start|><|plugin|>{"name": "NAME", "parameters": ARGS}<|action_end|>',
    "grok": '<xai:function_call name="NAME">\n<parameter name="city">Lisbon</parameter>\n</xai:function_call>',
}  # fmt: skip


def leak(form: str, name: str = "get_weather", arguments: str = ARGUMENTS) -> str:
    """A call in a model's markup."""
    return LEAKS[form].replace("[ARGS]", "\0").replace("ARGS", arguments).replace("\0", "[ARGS]").replace("NAME", name)


@pytest.mark.parametrize("form", LEAKS)
def test_leaked_calls_are_found(form: str) -> None:
    """Alone, after a line of text, after code, several at once; and with text after it when it has its own line."""
    call = leak(form)
    code = "```python\nprint(1)\n```\n"
    for text in (
        call,
        f"Let me look.\n\n{call}",
        f"{code}{call}\n",
        f"{call}\n{call}",
        "Well. " * 20_000 + "\n" + call,
    ):
        assert has_leaked_call(text, TOOLS), text[-300:]
    assert has_leaked_call(f"{call}\nIt will be sunny.", TOOLS)


@pytest.mark.parametrize("form", LEAKS)
def test_a_whole_call_of_an_unknown_tool_is_one_too(form: str) -> None:
    """Where it ends the answer: the model called what does not exist, and the parser lost that as well."""
    call = leak(form, "look_up_forecast")
    assert has_leaked_call(call, TOOLS)
    assert not has_leaked_call(f"{call}\nThat is how it is written.", TOOLS)


@pytest.mark.parametrize("form", ["hermes", "mistral", "kimi k2", "glm"])
def test_broken_arguments_hide_no_call(form: str) -> None:
    """Parsers give up on just such calls, and put them into the text."""
    assert has_leaked_call(leak(form, arguments='{"city": "Lis'), TOOLS)


def test_a_call_right_after_a_sentence_is_found() -> None:
    """Tokens of their own need no new line."""
    assert has_leaked_call("Let me look." + leak("kimi k2"), TOOLS)
    assert has_leaked_call("Let me look." + leak("deepseek v3.1") + "<\uff5cend\u2581of\u2581sentence\uff5c>", TOOLS)
    assert has_leaked_call("Let me look. " + leak("hermes"), TOOLS)


TALK = (
    "Hermes models write <tool_call> before and </tool_call> after the call.",
    "The parser looks for `<tool_call>` and then for `get_weather`.",
    "Call get_weather when you see <tool_call>.",
    'A call looks like <tool_call>{"name": "get_weather", "arguments": {}}</tool_call> in that format, I think.',
    "The marker <|tool_calls_section_begin|> begins a section of calls in Kimi K2.",
    "Use `<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{}` for that.",
    "[TOOL_CALLS] is Mistral's token for calls. [ARGS] comes before the arguments.",
    "I set to=functions.get_weather in the header.",
    "Regex: `<function=(\\w+)>` matches Qwen3-Coder. You can set <function=foo> too.",
    'In XML an <invoke name="..."> element names the tool.',
    "def parse(text):\n    start = text.index('<tool_call>')\n    return json.loads(text[start + 11 :])\n",
    "if '[TOOL_CALLS]' in content:\n    raise ValueError('get_weather')\n",
    "GLM writes <tool_call>, the name, and <arg_key>.",
    "a < b and c > d, x[TOOL_CALLS], to=functions. No.",
)


@pytest.mark.parametrize("text", TALK)
def test_talk_about_markup_is_no_call(text: str) -> None:
    """Prose and code that merely mention it, offered tools included."""
    assert not has_leaked_call(text, TOOLS)


@pytest.mark.parametrize("form", LEAKS)
def test_examples_in_code_are_no_calls(form: str) -> None:
    """In a fence, whatever its language, between backticks, and indented."""
    call = leak(form)
    quoted = "\n".join("    " + line for line in call.splitlines())
    texts = [f"Like this:\n```xml\n{call}\n```", f"Like this:\n```\n{call}", f"See:\n\n{quoted}\n"]
    if "`" not in call and "\n" not in call:
        texts.append(f"Write `{call}`")
    for text in texts:
        assert not has_leaked_call(text, TOOLS), text
    far = "```\n" + "x" * (MOST_CHARS + 5) + f"\n{call}\n```"
    assert not has_leaked_call(far, TOOLS)


PLAIN = (
    '{"name": "get_weather", "arguments": {"city": "Lisbon"}}',
    '{"name": "get_weather", "parameters": {}}',
    ' {"type": "function", "name": "get_weather", "parameters": {"city": "Lisbon"}}\n',
    '{"type": "function", "function": {"name": "get_weather", "arguments": "{}"}}',
    '[{"name": "get_weather", "arguments": {"city": "Lisbon"}}]',
    '```json\n{"name": "get_weather", "arguments": {"city": "Lisbon"}}\n```',
    '~~~\n{"name": "get_weather", "arguments": {"city": "Lisbon"}}\n~~~\n',
    '<think>I need it.</think>\n{"name": "get_weather", "arguments": {}}',
    '{"name": "get_weather", "arguments": {}}\n{"name": "get_weather", "arguments": {"city": "Rome"}}',
    '[get_weather(city="Lisbon")]',
    "[get_weather(city='Lisbon'), get_weather(city='Rome')]",
    '```tool_code\nprint(get_weather(city="Lisbon"))\n```',
    'I will look.\n\n```tool_code\ndefault_api.get_weather(city="Lisbon")\n```',
)
"""Answers that are nothing but calls, without a marker."""

JSON_ANSWERS = (
    '{"name": "look_up", "arguments": {"city": "Lisbon"}}',
    '{"name": "get_weather", "city": "Lisbon"}',
    '{"name": "get_weather", "arguments": {}, "explanation": "It asks for the weather."}',
    '{"name": "get_weather", "arguments": 5}',
    '{"name": "get_weather"}',
    '{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}',
    'Like this: {"name": "get_weather", "arguments": {"city": "Lisbon"}}',
    '{"name": "get_weather", "arguments": {"city": "Lisbon"}} calls the tool.',
    'Like this:\n```json\n{"name": "get_weather", "arguments": {"city": "Lisbon"}}\n```',
    '```json\n{"name": "get_weather", "arguments": {}}\n```\nThat is a call.',
    "[1, 2]",
    "{}",
    "[look_up(city='Lisbon')]",
    "[get_weather]",
    "get_weather(city='Lisbon')",
    '```python\nprint(get_weather(city="Lisbon"))\n```',
    '```tool_code\nprint(get_weather(city="Lisbon"))\n```\nis how Gemma writes it.',
)


@pytest.mark.parametrize("text", PLAIN)
def test_calls_without_markup_are_found(text: str) -> None:
    """JSON of exactly the shape of a call, as the whole answer; and lists of Python calls."""
    assert [leak.plain for leak in find_leaked_calls(text, TOOLS)].count(True) >= 1


@pytest.mark.parametrize("text", JSON_ANSWERS)
def test_other_json_is_an_answer(text: str) -> None:
    """An unlisted name, other keys, a tool's definition, and calls that the text talks about."""
    assert not has_leaked_call(text, TOOLS)


QUOTED = (
    "~~~\nCALL\n~~~\nThat is all.",
    "````md\n```\nCALL\n```\n````",
    "> CALL",
    "<pre>\nCALL\n</pre>",
    "<details>\nCALL\n</details>",
    'text = "CALL"',
    'TEXT = """\nCALL\n"""\nprint(TEXT)',
    "parse('CALL')\nassert calls == []",
    "* CALL\n* and so on",
    "CALL is how the model writes it.",
    "It writes CALL and waits.",
)


@pytest.mark.parametrize("form", LEAKS)
@pytest.mark.parametrize("around", QUOTED)
def test_talk_about_a_whole_call_is_none(form: str, around: str) -> None:
    """In any fence, quote, element of HTML, string or list, and as a part of a sentence."""
    if not ("\n" in leak(form) and around.startswith((">", "*", "CALL", "It"))):
        assert not has_leaked_call(around.replace("CALL", leak(form)), TOOLS)


@pytest.mark.parametrize("form", LEAKS)
def test_a_call_that_arrived_is_not_lost(form: str) -> None:
    """Its markup, or its beginning, may stand in the text as well; another call in the text is lost."""
    call = leak(form)
    for text in (call, call[: len(call) * 3 // 4]):
        leaks = list(find_leaked_calls(text, TOOLS))
        assert lost_calls(leaks, [ToolCall("get_weather", ARGUMENTS)]) == []
        assert lost_calls(leaks, [ToolCall("get_weather", {"city": "Lisbon"})]) == []
        assert lost_calls(leaks, []) == leaks
        assert lost_calls(leaks, [ToolCall("get_time", "{}")]) == leaks
    assert list(find_leaked_calls(call, TOOLS))


@pytest.mark.parametrize("form", ["hermes", "qwen3-coder", "glm 4.7", "minimax", "kimi k2", "cohere", "harmony"])
def test_a_second_call_of_the_same_tool_is_lost(form: str) -> None:
    """A parser may convert one of two calls and leave the other in the text."""
    assert lost_calls(list(find_leaked_calls(leak(form), TOOLS)), [ToolCall("get_weather", '{"city": "Rome"}')])


def test_no_text_holds_no_call() -> None:
    """Neither does a text without tools to call, unless it is a whole call."""
    assert not has_leaked_call("", TOOLS)
    assert not has_leaked_call("Hello", [])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.marker)
@pytest.mark.parametrize("filler", ["", " ", "\n", "{", "[", '{"name": "', "a", ":", "<", "json ", "<|a|>", "0", "`"])
def test_hostile_texts_cost_little(form: Any, filler: str) -> None:
    """A megabyte of markers and of long runs of what the expressions look for: linear, so far below a second."""
    run = filler * (20_000 // max(1, len(filler)))
    text = (form.marker + run) * (1_000_000 // (len(form.marker) + len(run)) + 1)
    began = time.process_time()
    has_leaked_call(text, TOOLS)
    assert time.process_time() - began < 1.0


PIECES = [form.marker for form in FORMATS] + [
    "get_weather", "</tool_call>", '{"name": "get_weather", "arguments": {}}', "{", "}", "[", "]", "```", "`", "\n",
    " ", "<arg_key>", "functions.", ":0", "<|tool_call_argument_begin|>", "<\uff5ctool\u2581sep\uff5c>", "[ARGS]",
    '">', "prose",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text())
def test_whatever_a_model_writes_gets_an_answer(text: str) -> None:
    """No exception; and without a marker there is no call."""
    leaks = list(find_leaked_calls(text, TOOLS))
    if any(not leak.plain for leak in leaks):
        assert any(form.marker in text for form in FORMATS)


def test_formats_are_told_apart() -> None:
    """Each leak is found by its own marker: with all others taken away it still is."""
    for form in LEAKS:
        assert any(entry.marker in leak(form) for entry in FORMATS)
    markers = [entry.marker for entry in FORMATS]
    assert not [pair for pair in itertools.permutations(markers, 2) if pair[0] in pair[1]]
