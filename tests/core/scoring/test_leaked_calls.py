"""Leaked calls are found in every model's markup, and prose about markup is left alone."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.scoring.leaked_calls import _FORMATS, MOST_CHARS, has_leaked_call

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


def test_no_text_holds_no_call() -> None:
    """Neither does a text without tools to call, unless it is a whole call."""
    assert not has_leaked_call("", TOOLS)
    assert not has_leaked_call("Hello", [])


@pytest.mark.parametrize("form", _FORMATS, ids=lambda form: form.marker)
@pytest.mark.parametrize("filler", ["", " ", "\n", "{", "[", '{"name": "', "a", ":", "<", "json ", "<|a|>", "0", "`"])
def test_hostile_texts_cost_little(form: Any, filler: str) -> None:
    """A megabyte of markers and of long runs of what the expressions look for: linear, so far below a second."""
    run = filler * (20_000 // max(1, len(filler)))
    text = (form.marker + run) * (1_000_000 // (len(form.marker) + len(run)) + 1)
    began = time.process_time()
    has_leaked_call(text, TOOLS)
    assert time.process_time() - began < 1.0


PIECES = [form.marker for form in _FORMATS] + [
    "get_weather", "</tool_call>", '{"name": "get_weather", "arguments": {}}', "{", "}", "[", "]", "```", "`", "\n",
    " ", "<arg_key>", "functions.", ":0", "<|tool_call_argument_begin|>", "<\uff5ctool\u2581sep\uff5c>", "[ARGS]",
    '">', "prose",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text())
def test_whatever_a_model_writes_gets_an_answer(text: str) -> None:
    """No exception; and without a marker there is no call."""
    found = has_leaked_call(text, TOOLS)
    if found:
        assert any(form.marker in text for form in _FORMATS)


def test_formats_are_told_apart() -> None:
    """Each leak is found by its own marker: with all others taken away it still is."""
    for form in LEAKS:
        assert any(entry.marker in leak(form) for entry in _FORMATS)
    markers = [entry.marker for entry in _FORMATS]
    assert not [pair for pair in itertools.permutations(markers, 2) if pair[0] in pair[1]]
