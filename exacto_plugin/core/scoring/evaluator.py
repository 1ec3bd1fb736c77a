"""The verdict on a tool call: what the model sent against what the request offered.

The rule is the published one of OpenRouter's Auto Exacto: arguments that ``JSON.parse`` refuses are invalid JSON, a
name that the request did not offer is unknown, a draft-7 "no" is a schema mismatch, and everything else is valid, also
when the schema is absent or does not compile. What cannot be judged at a bounded cost is unscored, never charged. Keeps
no arguments, and reads no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.model import Blame, Flaw, Outcome
from exacto_plugin.core.scoring.arguments import JSON_WHITESPACE, InvalidJsonError, parse_arguments
from exacto_plugin.core.scoring.attribution import BLAME, flaw_of
from exacto_plugin.core.scoring.json_schema.cache import SchemaCache
from exacto_plugin.core.scoring.json_schema.engine import make_engine
from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, NotCompilableError, ScoringLimits, UnscorableError
from exacto_plugin.core.scoring.tools import OfferedTool, ToolKind, find_tool, is_open_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class EmptyArguments(StrEnum):
    """What ``""`` as arguments means: the setting ``scoring.empty_arguments``."""

    EMPTY_OBJECT = "empty_object"
    """A call without arguments, as many providers write it for tools that take none."""
    INVALID_JSON = "invalid_json"
    """The published reading: ``JSON.parse("")`` throws."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of an answer."""

    name: str
    arguments: object
    """JSON text, or an object on surfaces that parse already; None counts as empty text."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The verdict on one tool call. Holds neither arguments nor the tool's name."""

    outcome: Outcome
    reason: str = ""
    """Machine-readable. Valid: ``no_schema``, ``not_compilable``, ``schema_limit`` (the schema was not applied).
    Unscored: ``too_large``, ``depth``, ``number_range``, ``evaluations``, ``patterns``, ``steps`` (too costly),
    ``open_tool_set`` (the request does not list all tools), ``engine_error``. Any: ``empty_arguments``. Else empty."""
    schema_path: str = ""
    """Where a mismatch is, as ``/passengers/*/dob#format``; only filled when asked for. Keys that the schema does not
    declare are ``*``."""

    @property
    def flaw(self) -> Flaw | None:
        """What is wrong with the call; None when nothing is, or nothing was judged."""
        return flaw_of(self.outcome, self.reason)

    @property
    def blame(self) -> Blame | None:
        """Whose fault that is, as far as the call alone can tell; the whole answer may show another (``blame``)."""
        flaw = self.flaw
        return None if flaw is None else BLAME[flaw]


_VALID: Final = Evaluation(Outcome.VALID)
_NO_SCHEMA: Final = Evaluation(Outcome.VALID, "no_schema")
_INVALID_JSON: Final = Evaluation(Outcome.INVALID_JSON)
_UNKNOWN_NAME: Final = Evaluation(Outcome.UNKNOWN_NAME)
_OPEN_TOOL_SET: Final = Evaluation(Outcome.UNSCORED, "open_tool_set")
_MISMATCH: Final = Evaluation(Outcome.SCHEMA_MISMATCH)
_ENGINE_ERROR: Final = Evaluation(Outcome.UNSCORED, "engine_error")
_EMPTY_REFUSED: Final = Evaluation(Outcome.INVALID_JSON, "empty_arguments")

_SEVERITY: Final = (Outcome.INVALID_JSON, Outcome.UNKNOWN_NAME, Outcome.SCHEMA_MISMATCH, Outcome.UNSCORED)
"""Worst first: the earlier a call fails, the less of it a client can use."""


class Evaluator:
    """Judges tool calls, with one engine and one cache of compiled schemas. May be shared between threads.

    Args:
        engine: ``auto``, ``jsonschema_rs`` or ``jsonschema`` (the setting ``scoring.engine``).
        empty_arguments: ``empty_object`` or ``invalid_json``.
        limits: what a verdict may cost.

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

    def evaluate(self, call: ToolCall, tools: Sequence[object], *, explain: bool = False) -> Evaluation:
        """The verdict on one call, given the ``tools`` of its request in any of the supported forms. Never raises.

        Args:
            call: what the model asked for.
            tools: as the client sent them; entries of unknown kinds are allowed.
            explain: also say where a mismatch is, at about the cost of a second validation.
        """
        try:
            return self._evaluate(call, tools, explain)
        except BaseException as error:
            # The one place that catches everything: clients choose schemas and models choose arguments, and whatever
            # a parser or an engine makes of them, a deployment must not pay for it and neither may the request.
            # PyO3 turns a Rust panic into a BaseException of its own, which has no importable name.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            return _ENGINE_ERROR

    def evaluate_all(
        self, calls: Iterable[ToolCall], tools: Sequence[object], *, explain: bool = False
    ) -> tuple[Evaluation, ...]:
        """The verdicts on all calls of one answer, in their order."""
        return tuple(self.evaluate(call, tools, explain=explain) for call in calls)

    def _evaluate(self, call: ToolCall, tools: Sequence[object], explain: bool) -> Evaluation:
        tool = find_tool(tools, call.name)
        if tool is None:
            return _OPEN_TOOL_SET if is_open_set(tools) else _UNKNOWN_NAME
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
        except InvalidJsonError:
            return _INVALID_JSON
        except UnscorableError as declined:
            return Evaluation(Outcome.UNSCORED, declined.reason)
        except NotCompilableError as refusal:
            return Evaluation(Outcome.VALID, "schema_limit" if refusal.limit else "not_compilable")
        return Evaluation(Outcome.SCHEMA_MISMATCH, "", schema.violation(read)) if explain else _MISMATCH


def worst(evaluations: Iterable[Evaluation]) -> Outcome | None:
    """The verdict on a request: the worst of its calls, or None without calls.

    One bad call makes the request errored, as published. Without a bad call, one unscored call makes the request
    unscored: to count it valid would vouch for a call that nobody checked.
    """
    outcomes = {evaluation.outcome for evaluation in evaluations}
    if not outcomes:
        return None
    return next((outcome for outcome in _SEVERITY if outcome in outcomes), Outcome.VALID)
