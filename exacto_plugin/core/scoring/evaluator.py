"""Evaluates a tool call against the tools that the request offers.

The rule is the published one of OpenRouter's Auto Exacto: arguments that ``JSON.parse`` refuses are invalid JSON, a
name that the request does not offer is unknown, a draft-7 violation is a schema mismatch, and everything else is
valid, including calls whose schema is absent or does not compile. A call that cannot be validated at a bounded cost
is unscored and never counted as bad. Stores no arguments and reads no clock.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.scoring.arguments import JSON_WHITESPACE, InvalidJsonError, parse_arguments
from exacto_plugin.core.scoring.evaluation import Evaluation
from exacto_plugin.core.scoring.flaws import FLAW_OF
from exacto_plugin.core.scoring.json_schema.cache import SchemaCache
from exacto_plugin.core.scoring.json_schema.engine import make_engine
from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, NotCompilableError, ScoringLimits, UnscorableError
from exacto_plugin.core.scoring.tools import OfferedTool, ToolKind, find_tool, find_tools, is_open_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exacto_plugin.core.scoring.evaluation import ToolCall


class EmptyArguments(StrEnum):
    """The reading of ``""`` as arguments: the setting ``scoring.empty_arguments``."""

    EMPTY_OBJECT = "empty_object"
    """No arguments: many providers write it so for tools without parameters."""
    INVALID_JSON = "invalid_json"
    """The published reading: ``JSON.parse("")`` throws."""


_VALID: Final = Evaluation(Outcome.VALID)
_NO_SCHEMA: Final = Evaluation(Outcome.VALID, "no_schema")
_INVALID_JSON: Final = Evaluation(Outcome.INVALID_JSON)
_UNKNOWN_NAME: Final = Evaluation(Outcome.UNKNOWN_NAME)
_OPEN_TOOL_SET: Final = Evaluation(Outcome.UNSCORED, "open_tool_set")
_UNSATISFIABLE: Final = Evaluation(Outcome.UNSCORED, "unsatisfiable")
_MISMATCH: Final = Evaluation(Outcome.SCHEMA_MISMATCH)
_ENGINE_ERROR: Final = Evaluation(Outcome.UNSCORED, "engine_error")
_EMPTY_REFUSED: Final = Evaluation(Outcome.INVALID_JSON, "empty_arguments")

_MOST_NAMESAKES: Final = 8
"""Tools of one name that a call is compared with.
Each of them may need a schema to be compiled."""

_SEVERITY: Final = (Outcome.INVALID_JSON, Outcome.UNKNOWN_NAME, Outcome.SCHEMA_MISMATCH, Outcome.UNSCORED)
"""Outcomes from worst to best: an earlier failure leaves the client less to use."""


class Evaluator:
    """Evaluates tool calls with one engine and one schema cache; thread-safe.

    Args:
        engine: ``auto``, ``jsonschema_rs`` or ``jsonschema`` (the setting ``scoring.engine``).
        empty_arguments: ``empty_object`` or ``invalid_json``.
        limits: bounds of the cost of an evaluation.

    Raises:
        ValueError: a setting has no such value.
        ImportError: the named engine is not installed.
    """

    def __init__(
        self,
        engine: str = "auto",
        empty_arguments: str = EmptyArguments.EMPTY_OBJECT,
        limits: ScoringLimits = DEFAULT_LIMITS,
    ) -> None:
        chosen = make_engine(engine, limits)
        self.engine_name = chosen.name
        """The engine in use, ``jsonschema_rs`` or ``jsonschema``."""
        self.schemas = SchemaCache(chosen, limits)
        self._limits = limits
        self._empty_is_object = EmptyArguments(empty_arguments) is EmptyArguments.EMPTY_OBJECT

    def evaluate(
        self, call: ToolCall, tools: Sequence[object], *, explain: bool = False, open_set: bool = False
    ) -> Evaluation:
        """Evaluate one call against the ``tools`` of its request; raises no error.

        Args:
            call: the model's call.
            tools: in any supported form, as the client sent them; entries of unknown kinds are allowed.
            explain: also locate a mismatch, at about the cost of a second validation.
            open_set: True if the request brings tools by other means than ``tools``.
        """
        try:
            return self._evaluate(call, tools, explain, open_set)
        except BaseException as error:
            # Every error is caught here: schemas come from clients and arguments from models, and an error of a parser
            # or an engine on them must neither count against the deployment nor fail the request.
            # PyO3 turns a Rust panic into a BaseException of its own, which has no importable name.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            return _ENGINE_ERROR

    def evaluate_all(
        self, calls: Iterable[ToolCall], tools: Sequence[object], *, explain: bool = False, open_set: bool = False
    ) -> tuple[Evaluation, ...]:
        """Evaluate all calls of one answer, in their order."""
        return tuple(self.evaluate(call, tools, explain=explain, open_set=open_set) for call in calls)

    def _evaluate(self, call: ToolCall, tools: Sequence[object], explain: bool, open_set: bool) -> Evaluation:
        tool = find_tool(tools, call.name)
        if tool is None:
            return _OPEN_TOOL_SET if open_set or is_open_set(tools) else _UNKNOWN_NAME
        verdict = self._of_one(call, tool, explain)
        if verdict.outcome in FLAW_OF:
            # A request may offer several tools of one name; then a call is right if any of them accepts it.
            namesakes = islice(find_tools(tools, call.name), 1, _MOST_NAMESAKES)
            others = (self._of_one(call, other, explain) for other in namesakes)
            return next((other for other in others if other.outcome not in FLAW_OF), verdict)
        return verdict

    def _of_one(self, call: ToolCall, tool: OfferedTool, explain: bool) -> Evaluation:
        if tool.kind is ToolKind.FREE_TEXT:
            return _NO_SCHEMA
        arguments = call.arguments
        empty = arguments is None or (isinstance(arguments, str) and not arguments.strip(JSON_WHITESPACE))
        if not empty:
            return self._judge(arguments, tool, explain)
        if not self._empty_is_object:
            return _EMPTY_REFUSED
        verdict = self._judge("{}", tool, explain)
        return verdict if verdict.reason else Evaluation(verdict.outcome, "empty_arguments", verdict.schema_path)

    def _judge(self, arguments: object, tool: OfferedTool, explain: bool) -> Evaluation:
        limits = self._limits
        try:
            read = parse_arguments(arguments, max_chars=limits.argument_chars, max_depth=limits.argument_depth)
            if tool.parameters is None:
                return _NO_SCHEMA
            schema = self.schemas.compiled(tool.parameters)
            if schema.accepts(read):
                return _VALID
            if schema.is_unsatisfiable_for(read):
                return _UNSATISFIABLE
        except InvalidJsonError:
            return _INVALID_JSON
        except UnscorableError as declined:
            return Evaluation(Outcome.UNSCORED, declined.reason)
        except NotCompilableError as refusal:
            return Evaluation(Outcome.VALID, "schema_limit" if refusal.limit else "not_compilable")
        return Evaluation(Outcome.SCHEMA_MISMATCH, "", schema.violation(read)) if explain else _MISMATCH


def worst(evaluations: Iterable[Evaluation]) -> Outcome | None:
    """Return the outcome of a request: the worst of its calls; None without calls.

    One bad call makes the request errored, as published. Without a bad call, one unscored call makes the request
    unscored, because a call that was not checked must not count as valid.
    """
    outcomes = {evaluation.outcome for evaluation in evaluations}
    if not outcomes:
        return None
    return next((outcome for outcome in _SEVERITY if outcome in outcomes), Outcome.VALID)
