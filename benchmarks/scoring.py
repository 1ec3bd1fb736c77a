"""What scoring one tool call costs, by engine, number of offered tools and whether its schema is compiled yet.

The tool that is called stands last among the offered ones, which is the dearest place. Times are processor time, the
least of several rounds, and the ratio to ``json.loads`` of the same arguments is what to compare between machines. Run
as ``python benchmarks/scoring.py``.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from exacto_plugin.core.model import Outcome
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator
from exacto_plugin.core.scoring.tools import complexity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ENGINES = ("jsonschema_rs", "jsonschema")
TOOL_COUNTS = (1, 50, 200)
ROUNDS = 7
HITS_PER_ROUND = 2_000
MISSES_PER_ROUND = 20

PASSENGER: dict[str, object] = {
    "type": "object",
    "properties": {
        "first_name": {"type": "string", "description": "The first name of the passenger."},
        "last_name": {"type": "string", "description": "The last name of the passenger."},
        "dob": {"type": "string", "format": "date", "description": "The date of birth."},
    },
    "required": ["first_name", "last_name", "dob"],
}
SMALL: dict[str, object] = {
    "type": "object",
    "properties": {"user_id": {"type": "string", "description": "The user id, such as 'sara_doe_496'."}},
    "required": ["user_id"],
}
MEDIUM: dict[str, object] = {
    "type": "object",
    "properties": {
        "user_id": {"type": "string", "description": "The id of the user to book for."},
        "cabin": {"type": "string", "enum": ["basic_economy", "economy", "business"]},
        "flights": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"flight_number": {"type": "string"}, "date": {"type": "string"}},
                "required": ["flight_number", "date"],
                "additionalProperties": False,
            },
        },
        "passengers": {"type": "array", "items": {"$ref": "#/$defs/Passenger"}, "minItems": 1},
        "total_baggages": {"type": "integer", "minimum": 0},
        "insurance": {"anyOf": [{"type": "string", "enum": ["yes", "no"]}, {"type": "null"}]},
    },
    "required": ["user_id", "cabin", "flights", "passengers", "total_baggages"],
    "additionalProperties": False,
    "$defs": {"Passenger": PASSENGER},
}
CALLS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "small": (SMALL, {"user_id": "sara_doe_496"}),
    "medium": (
        MEDIUM,
        {
            "user_id": "sara_doe_496",
            "cabin": "economy",
            "flights": [
                {"flight_number": "HAT001", "date": "2024-05-20"},
                {"flight_number": "HAT002", "date": "2024-05-27"},
            ],
            "passengers": [{"first_name": "Sara", "last_name": "Doe", "dob": "1985-08-12"}],
            "total_baggages": 1,
            "insurance": None,
        },
    ),
}


def nested(levels: int, leaf: object) -> object:
    """Objects in one another, ``leaf`` in the innermost."""
    for _ in range(levels):
        leaf = {"a": leaf}
    return leaf


HOSTILE: dict[str, tuple[object, object]] = {
    "evil pattern": ({"pattern": "^(a+)+$"}, "a" * 5_000 + "!"),
    "linear pattern at its limit": ({"pattern": "[ab]*a[ab]{1000}c"}, "ab" * 4_000),
    "32 large patterns": ({"allOf": [{"pattern": f"[ab]*a[ab]{{900}}c{n}"} for n in range(32)]}, "ab" * 120),
    "2^30 by references": (
        {
            "$ref": "#/$defs/30",
            "$defs": {
                "0": {},
                **{str(n): {"anyOf": [{"$ref": f"#/$defs/{n - 1}"}] * 2} for n in range(1, 31)},
            },
        },
        {},
    ),
    "recursive union": (
        {"anyOf": [{"type": "integer"}, *[{"properties": {"a": {"$ref": "#"}}, "required": [n]} for n in "bcd"]]},
        nested(30, "x"),
    ),
    "5,000 properties": ({"properties": {f"p{n}": {} for n in range(4_900)}}, {}),
    "2,000 branches": ({"anyOf": [{"type": "string", "minLength": n} for n in range(1_900)]}, {"a": 1}),
    "objects in an enum": ({"items": {"enum": [{"a": n} for n in range(90)]}}, [{"a": 89}] * 900),
    "fractions in bounds": ({"items": {"minimum": 0.5}}, [1] * 60_000),
    "short unique arrays": ({"items": {"uniqueItems": True}}, [[n + 0.5 for n in range(14)]] * 500),
    "large unique array": ({"uniqueItems": True}, [{"a": n} for n in range(3_000)]),
    "formats in Python": ({"items": {"format": "date-time"}}, ["2024-01-01T00:00:00Z"] * 8_000),
    "ordinary words": ({"items": {"oneOf": [{"minLength": 9}] * 30 + [{}]}}, ["a"] * 50_000),
    "deep arguments": ({"properties": {"a": {"$ref": "#"}}}, nested(128, 1)),
}
"""Schemas and arguments that are slow without limits, close to a limit where they are judged at all."""


@dataclass
class Row:
    """One line of the table."""

    engine: str
    schema: str
    tools: int
    cached: str
    score_us: float
    parse_us: float


def least_us(work: Callable[[], object], repeats: int) -> float:
    """Least time of one call of ``work`` over several rounds, in microseconds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.thread_time()
        for _ in range(repeats):
            work()
        best = min(best, time.thread_time() - start)
    return best / repeats * 1e6


def offered(schema: object, tools: int) -> list[object]:
    """A request's tools, the called one last."""
    names = [f"tool_{number}" for number in range(tools - 1)] + ["called"]
    return [{"type": "function", "function": {"name": name, "parameters": schema}} for name in names]


def measure(engine: str, name: str, tools: int) -> list[Row]:
    """Hit and miss of one engine, schema and number of tools."""
    schema, arguments = CALLS[name]
    text = json.dumps(arguments)
    call = ToolCall("called", text)
    evaluator = Evaluator(engine)
    request = offered(schema, tools)
    if evaluator.evaluate(call, request).outcome is not Outcome.VALID:
        raise SystemExit(f"{engine} refused the {name} call: nothing is measured")
    parse_us = least_us(lambda: json.loads(text), HITS_PER_ROUND)
    hit_us = least_us(lambda: evaluator.evaluate(call, request), HITS_PER_ROUND if engine == ENGINES[0] else 200)
    version = count()

    def miss() -> object:
        request[-1] = offered({**schema, "$comment": str(next(version))}, 1)[0]
        return evaluator.evaluate(call, request)

    miss_us = least_us(miss, MISSES_PER_ROUND)
    return [Row(engine, name, tools, "hit", hit_us, parse_us), Row(engine, name, tools, "miss", miss_us, parse_us)]


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [f"{'engine':<14}{'schema':<8}{'tools':>6}{'cache':>7}{'us':>10}{'x json.loads':>14}"]
    lines += [
        f"{row.engine:<14}{row.schema:<8}{row.tools:>6}{row.cached:>7}"
        f"{row.score_us:>10.1f}{row.score_us / row.parse_us:>14.1f}"
        for row in rows
    ]
    return "\n".join(lines)


def hostile_table() -> str:
    """First and second verdict on each hostile call, in milliseconds."""
    lines = [f"{'hostile call':<30}{'engine':<14}{'first ms':>9}{'next ms':>9}  verdict"]
    for about, (schema, arguments) in HOSTILE.items():
        call = ToolCall("called", json.dumps(arguments))
        for engine in ENGINES:
            evaluator, times = Evaluator(engine), []
            for _ in range(3):
                start = time.thread_time()
                found = evaluator.evaluate(call, offered(schema, 1))
                times.append((time.thread_time() - start) * 1e3)
            verdict = f"{found.outcome} {found.reason}"
            lines.append(f"{about:<30}{engine:<14}{times[0]:>9.1f}{min(times[1:]):>9.1f}  {verdict}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print everything."""
    rows = [
        row for engine in ENGINES for name in CALLS for tools in TOOL_COUNTS for row in measure(engine, name, tools)
    ]
    sys.stdout.write(f"{table(rows)}\n\ncase-mix bucket of a request's tools:\n")
    for tools in TOOL_COUNTS:
        request = offered(MEDIUM, tools)
        sys.stdout.write(f"{tools:>6} tools {least_us(partial(complexity, request), 500):>8.1f} us\n")
    sys.stdout.write(f"\n{hostile_table()}\n")


if __name__ == "__main__":
    main()
