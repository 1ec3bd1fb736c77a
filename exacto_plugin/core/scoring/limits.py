"""Limits on the cost of scoring, and the two errors for exceeding them.

Tool schemas come from clients and arguments from models, and neither the parser nor the validator releases the
interpreter while it runs, so a time-out cannot interrupt them: input that could take long is refused beforehand.
Holds numbers and exceptions only; reads no schema and no arguments.
"""

from __future__ import annotations

from dataclasses import dataclass


class NotCompilableError(Exception):
    """The tool's schema cannot be used as draft 7; calls that are JSON are then valid.

    Args:
        detail: machine-readable cause, one of a small fixed set; never text from the schema.
        limit: True if the schema may be correct and was declined for its cost.
    """

    def __init__(self, detail: str, *, limit: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.limit = limit


class UnscorableError(Exception):
    """The call cannot be scored at a bounded cost and counts as unscored.

    Args:
        reason: machine-readable cause, one of a small fixed set; never text from the call.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ScoringLimits:
    """All limits of scoring. The docstrings give measurements at each limit.

    They were made on one core of a small server. The first six make a call unscored; those of schemas and compiling
    make a schema count as absent (its calls are valid); the last two bound memory. None of 6,965 public tool schemas
    (BFCL, tau2-bench, an MCP collection) exceeds a limit of schemas.
    """

    argument_chars: int = 256 * 1024
    """Longer arguments are not parsed.
    Parsing this much takes a few ms; tool calls of that size are file contents."""

    argument_depth: int = 128
    """Nesting of arguments.
    jsonschema-rs recurses on the C stack: a thread with a 128 kB stack crashed at 256 levels, and 128 was safe even
    with 96 kB."""

    evaluations: int = 10_000_000
    """Cost of the schema along one path times characters of the arguments.
    An upper bound of the work, in evaluations of a plain schema node. At this product the slowest schemas found took
    0.1 s to 0.2 s."""

    pattern_chars: int = 8_192
    """Number of patterns times characters of the arguments.
    The linear regex engine still costs pattern size times text, 1 s for a crafted pattern on 64 kB; at this product
    the worst was 81 ms. Beyond it patterns are left out."""

    lite_steps: int = 5_000
    """Keyword evaluations of the Python engine in one call: about 90 ms."""

    lite_recursive_depth: int = 32
    """Nesting of arguments that the Python engine follows through a recursive schema.
    It uses a dozen Python frames per level, and the interpreter stops at 1,000."""

    lite_compile_steps: int = 10_000
    """Steps of the Python engine to check a schema against draft 7: about 0.1 s.
    An ordinary schema of 24 kB takes 2,400 steps."""

    schema_bytes: int = 128 * 1024
    """Serialised size of one tool's schema. The 99th percentile of BFCL's is 2.7 kB."""

    schema_nodes: int = 5_000
    """Subschemas after following references."""

    schema_depth: int = 64
    """Nesting of subschemas; some parsers crash or give up between 100 and 300."""

    reference_depth: int = 400
    """Longest chain of ``$ref``.
    Compiling a chain is quadratic: 5,000 links took 0.1 s, 50,000 took 7.5 s."""

    patterns: int = 32
    """Regular expressions in one schema; compiling 32 hostile ones took up to 134 ms."""

    pattern_length: int = 1_024
    """Characters of one regular expression."""

    pattern_program_bytes: int = 256 * 1024
    """Compiled size of one regular expression.
    ``(\\p{L}{1000}){50}`` is refused within 1 ms instead of 106 ms. ``^.{1,255}$`` does not fit either, so such a
    schema is not checked at all."""

    enum_values: int = 5_000
    """Values in all ``enum`` lists of a schema.
    An object or array counts as ``enum_object_weight`` values."""

    enum_object_weight: int = 10
    """Objects and arrays in an ``enum`` are compared singly, at about 300 ns each.
    Strings are hashed."""

    schema_weight: int = 5_000
    """Schema nodes evaluated along one path of the arguments.
    Nested ``$ref`` pairs reach 2^30 in 2 kB of schema."""

    cache_bytes: int = 64 * 1024 * 1024
    """Estimated memory of all compiled schemas.
    Filling it with the worst schemas found grew the process by 90 MB."""

    cache_entries: int = 2_048
    """Largest number of stored compiled schemas, refusals included."""


DEFAULT_LIMITS = ScoringLimits()
