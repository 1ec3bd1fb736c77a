"""What the tests of scoring share: both engines, and a request with one tool."""

from __future__ import annotations

import json

from exacto_plugin.core.scoring.evaluation import Evaluation, ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator

ENGINES = ("jsonschema_rs", "jsonschema")


def offered(schema: object, name: str = "called") -> list[object]:
    """The tools of a request that offers one function."""
    return [{"type": "function", "function": {"name": name, "parameters": schema}}]


def judge(engine: str, schema: object, arguments: object, *, explain: bool = False) -> Evaluation:
    """The verdict of a fresh evaluator on a call; arguments that are not text are written as JSON first."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Evaluator(engine).evaluate(ToolCall("called", text), offered(schema), explain=explain)
