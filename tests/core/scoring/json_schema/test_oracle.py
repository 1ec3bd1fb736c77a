"""Our verdicts are those of @cfworker/json-schema, which the published evaluation uses, on BFCL's and tau2's tools.

Needs node, the npm package and the data of the PyPI package bfcl-eval (Apache 2.0); ``make venv`` installs the latter
two where npm is there. Without them the tests skip and say what is missing. The tools of tau2-bench's airline, retail
and telecom domains lie in ``tests/data/tau2`` with their licences.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.demo.arguments import valid_arguments
from tests.support.scoring_cases import ENGINES, offered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORACLE = Path(sys.prefix) / "oracle"
TAU2 = Path(__file__).parents[3] / "data/tau2/tools.json"
SCRIPT = Path(__file__).with_name("oracle.mjs")
TYPES = {
    "integer": "integer", "number": "number", "float": "number", "string": "string", "boolean": "boolean",
    "bool": "boolean", "array": "array", "list": "array", "dict": "object", "object": "object", "tuple": "array",
    "any": "string", "byte": "integer", "short": "integer", "long": "integer", "double": "number", "char": "string",
    "ArrayList": "array", "Array": "array", "HashMap": "object", "Hashtable": "object", "Queue": "array",
    "Stack": "array", "Any": "string", "String": "string", "Bigint": "integer", "null": "null",
}  # fmt: skip
"""BFCL's types as it maps them for OpenAI's tools (``bfcl_eval.constants.type_mappings``); any other is a string."""

LETTERS = {Outcome.VALID: "V", Outcome.SCHEMA_MISMATCH: "I", Outcome.INVALID_JSON: "J"}
ODD_VALUES: list[Any] = [None, True, 0, -1, 1.5, 1.0, "", "x", [], ["x"], [1], {}, {"x": 1}]
MOST_SCHEMAS = 1_500
"""So many different schemas, spread over all of the data, keep the test at a few seconds."""


def _missing() -> str:
    if shutil.which("node") is None:
        return "node is not on PATH"
    if not (ORACLE / "node_modules/@cfworker/json-schema").is_dir():
        return f"npm install --prefix {ORACLE} @cfworker/json-schema@4.1.6 was not done (make venv does, with npm)"
    if importlib.util.find_spec("bfcl_eval") is None:
        return "bfcl-eval is not installed (pip install --no-deps bfcl-eval==2026.3.23)"
    return ""


def _openai(schema: Any) -> Any:
    """A BFCL parameter schema as it is sent to OpenAI."""
    schema = dict(schema)
    kind = schema.get("type")
    if kind == "float":
        schema["format"] = "float"
    schema["type"] = TYPES.get(kind, "string") if isinstance(kind, str) else "string"
    if isinstance(schema.get("properties"), dict):
        schema["properties"] = {name: _openai(inner) for name, inner in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        schema["items"] = _openai(schema["items"])
    return schema


def _data() -> Path:
    spec = importlib.util.find_spec("bfcl_eval")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data"


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _accepted() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By question and function, arguments that BFCL accepts: the first of each parameter's values, "" meaning none."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for file in sorted((_data() / "possible_answer").glob("*.json")):
        for line in _lines(file):
            for call in line["ground_truth"]:
                if isinstance(call, dict):
                    for name, values in call.items():
                        chosen = {key: options[0] for key, options in values.items() if options and options[0] != ""}
                        found.setdefault((line["id"], name), []).append(chosen)
    return found


def _mutated(arguments: dict[str, Any], schema: Any, random: Random) -> Iterator[object]:
    """The arguments themselves, and what models make of them."""
    yield arguments
    for name in (*schema.get("properties", {}), "unasked"):
        yield {**arguments, name: random.choice(ODD_VALUES)}
    for name in arguments:
        yield {key: value for key, value in arguments.items() if key != name}
        inner = copy.deepcopy(arguments)
        if isinstance(inner[name], list) and inner[name]:
            inner[name][0] = random.choice(ODD_VALUES)
            yield inner
        elif isinstance(inner[name], dict) and inner[name]:
            inner[name][next(iter(inner[name]))] = random.choice(ODD_VALUES)
            yield inner
        elif isinstance(inner[name], int | float):
            yield {**arguments, name: str(inner[name])}
    yield from ([], None, "text", json.dumps(arguments))


def _cases() -> Iterator[tuple[Any, list[str]]]:
    """Schemas with arguments as text."""
    accepted, random, seen = _accepted(), Random("bfcl"), set[str]()
    questions = [file for file in _data().glob("BFCL_v4_*.json") if "format_sensitivity" not in file.name]
    for file in (*sorted(questions), *sorted((_data() / "multi_turn_func_doc").glob("*.json"))):
        for line in _lines(file):
            entries = line.get("function", [line] if "parameters" in line else [])
            for function in entries if isinstance(entries, list) else [entries]:
                schema = _openai(function["parameters"])
                calls = accepted.get((line.get("id", ""), function["name"]), [{}])
                if (text := json.dumps([schema, calls])) in seen:
                    continue
                seen.add(text)
                texts = [json.dumps(value) for call in calls for value in _mutated(call, schema, random)]
                yield schema, [*texts, texts[0][:-1], texts[0] + ",", "", "NaN"]


def _oracle(cases: list[tuple[Any, list[str]]]) -> list[str]:
    asked = "\n".join(json.dumps({"schema": schema, "arguments": texts}) for schema, texts in cases)
    command = ["node", str(SCRIPT), str(ORACLE / "package.json")]
    return subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout.split("\n")


def _bfcl() -> list[tuple[Any, list[str]]]:
    cases = list(_cases())
    return cases[:: max(1, len(cases) // MOST_SCHEMAS)]


def _tau2() -> list[tuple[Any, list[str]]]:
    random = Random("tau2")
    cases = []
    for tools in json.loads(TAU2.read_text(encoding="utf-8")).values():
        for tool in tools:
            schema = tool["function"]["parameters"]
            made = [valid_arguments(schema, random) for _ in range(4)]
            values = [value for one in made if isinstance(one, dict) for value in _mutated(one, schema, random)]
            texts = [json.dumps(value) for value in values]
            cases.append((schema, [*texts, texts[0][:-1], ""]))
    return cases


@pytest.mark.skipif(bool(_missing()), reason=_missing())
@pytest.mark.parametrize(("cases", "least"), [(_bfcl, 2_000), (_tau2, 80)], ids=["bfcl", "tau2"])
def test_the_published_validator_agrees(cases: Callable[[], list[tuple[Any, list[str]]]], least: int) -> None:
    """Not one disagreement, of either engine, on right and wrong calls of real tools."""
    _compare(cases(), least)


def _compare(cases: list[tuple[Any, list[str]]], least: int) -> None:
    wanted = _oracle(cases)
    for engine in ENGINES:
        judge = Evaluator(engine, "invalid_json")
        differ = []
        for (schema, texts), letters in zip(cases, wanted, strict=False):
            for text, letter in zip(texts, letters, strict=True):
                found = judge.evaluate(ToolCall("called", text), offered(schema))
                # What nothing satisfies is invalid to the published validator as well; here it is the caller's fault.
                ours = "I" if found.reason == "unsatisfiable" else LETTERS.get(found.outcome)
                if letter == "T" or ours != letter:
                    differ.append((schema, text, letter, found))
        assert differ == []
    letters = "".join(wanted)
    counts = {letter: letters.count(letter) for letter in "VIJ"}
    assert min(counts.values()) >= least, counts
