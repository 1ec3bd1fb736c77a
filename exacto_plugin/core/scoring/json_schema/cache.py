"""Compiles the schemas of tool parameters and caches the results.

The key is the serialised parameters of the one tool that was called: every HTTP request decodes new objects, so
object identity is no key, and a key of the whole tool list would cost time for tools that were not called. The size
is bounded by an estimate of memory. Independent of tools, calls and outcomes.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cachetools
import orjson

from exacto_plugin.core.scoring.json_schema.error_path import shown_path
from exacto_plugin.core.scoring.json_schema.prepare import PreparedSchema, prepare
from exacto_plugin.core.scoring.json_schema.satisfiability import is_unsatisfiable
from exacto_plugin.core.scoring.limits import DEFAULT_LIMITS, NotCompilableError, ScoringLimits, UnscorableError

if TYPE_CHECKING:
    from exacto_plugin.core.scoring.arguments import Arguments
    from exacto_plugin.core.scoring.json_schema.engine import ValidationEngine, Validator

_BYTES_PER_KEY_BYTE: Final = 32
"""Memory of a compiled schema per byte of its text.
Measured: 19 for an ordinary one of 3.2 kB, 23 for one of 29 kB."""

_BYTES_PER_NODE: Final = 400
"""Additional memory of a subschema, in bytes.
Measured: a thousand times ``{"not": {"not": {}}}`` took 1.9 MB from 19 kB of schema."""

_BYTES_PER_CONTAINER: Final = 1_200
"""Additional memory of an object in ``enum`` or ``const``, in bytes.
Measured: 490 small ones took 0.7 MB from 5 kB of schema."""

_BYTES_PER_UNICODE_PATTERN: Final = 320 * 1024
"""Memory of a pattern with ``{`` or ``\\p``, in bytes.
It can expand into Unicode tables: 64 of them took 20 MB from 3.6 kB of schema."""

_BYTES_PER_PATTERN: Final = 4 * 1024
_BYTES_PER_PATTERN_CHAR: Final = 1_229
"""Memory per character of any other pattern, in bytes: 64 short ones took 1.8 MB."""


class CompiledSchema:
    """One compiled schema. Its key is the schema's text, shared with the cache."""

    __slots__ = (
        *("_engine", "_free_chars", "_key", "_limits", "_traits", "_unsatisfiable", "_validator", "_without_patterns"),
    )

    def __init__(self, key: bytes, prepared: PreparedSchema, engine: ValidationEngine, limits: ScoringLimits) -> None:
        self._key = key
        self._traits = prepared.traits
        self._engine = engine
        self._limits = limits
        self._validator = engine.compile(prepared)
        self._without_patterns: Validator | None = None
        self._unsatisfiable: dict[bool, bool] = {}
        self._free_chars = self._unconditional_chars()

    def accepts(self, arguments: Arguments) -> bool:
        """Check that arguments satisfy the schema.

        Raises:
            UnscorableError: validation could take too long (``evaluations``, ``patterns``, ``steps``, ``depth``).
        """
        if len(arguments.text) <= self._free_chars:
            return self._validator.is_valid(arguments.value)
        return self._affordable(arguments).is_valid(arguments.value)

    def violation(self, arguments: Arguments) -> str:
        """Return the place of the first violation as ``pointer#keyword``; empty if none.

        The pointer contains the properties that the schema declares; any other key, and every index, is ``*``.

        Raises:
            UnscorableError: as ``accepts``.
        """
        found = self._affordable(arguments).first_violation(arguments.value)
        # Prepared again: a stored copy would cost memory for every schema and is rarely needed.
        return "" if found is None else shown_path(found, prepare(orjson.loads(self._key), self._limits).schema)

    def is_unsatisfiable_for(self, arguments: Arguments) -> bool:
        """Return True if nothing like the arguments satisfies the schema.

        That is no object where the arguments are one, else no value at all. Asked only after a mismatch, computed once.
        """
        objects_only = isinstance(arguments.value, dict)
        found = self._unsatisfiable.get(objects_only)
        if found is None:
            prepared = prepare(orjson.loads(self._key), self._limits)
            found = is_unsatisfiable(prepared, self._engine, objects_only=objects_only)
            self._unsatisfiable[objects_only] = found
        return found

    def estimated_bytes(self) -> int:
        """Estimate the memory of this entry in bytes, roughly and never far too low."""
        patterns = sum(
            _BYTES_PER_UNICODE_PATTERN
            if "{" in pattern or "\\p" in pattern.lower()
            else _BYTES_PER_PATTERN + _BYTES_PER_PATTERN_CHAR * len(pattern)
            for pattern in self._traits.patterns
        )
        traits = self._traits
        inside = traits.nodes * _BYTES_PER_NODE + traits.containers * _BYTES_PER_CONTAINER
        return len(self._key) * _BYTES_PER_KEY_BYTE + inside + patterns

    def _unconditional_chars(self) -> int:
        """Return the length up to which arguments need no estimate of their cost."""
        traits, limits, engine = self._traits, self._limits, self._engine
        if traits.recursive and engine.recursive_depth is not None:
            return 0
        free = limits.evaluations // traits.cost
        if engine.runs_patterns and traits.patterns:
            free = min(free, limits.pattern_chars // len(traits.patterns))
        return free

    def _affordable(self, arguments: Arguments) -> Validator:
        """Return the validator that may be run on these arguments."""
        traits, limits, engine = self._traits, self._limits, self._engine
        chars = len(arguments.text)
        deepest = engine.recursive_depth if traits.recursive else None
        if deepest is not None and arguments.is_deeper_than(deepest):
            raise UnscorableError("depth")
        if traits.cost * chars > limits.evaluations:
            raise UnscorableError("evaluations")
        if not engine.runs_patterns or len(traits.patterns) * chars <= limits.pattern_chars:
            return self._validator
        if not traits.separable:
            raise UnscorableError("patterns")
        if self._without_patterns is None:
            without = prepare(orjson.loads(self._key), limits, keep_patterns=False)
            self._without_patterns = engine.compile(without)
        return self._without_patterns


class SchemaCache:
    """Compiles schemas on first use and caches them, refusals included.

    Thread-safe: LiteLLM's synchronous callbacks run in a thread pool, and the lock protects the order of use, which a
    look-up also changes. Compilation happens outside the lock; two threads may compile the same schema once each.
    """

    def __init__(self, engine: ValidationEngine, limits: ScoringLimits = DEFAULT_LIMITS) -> None:
        self._engine = engine
        self._limits = limits
        # The size of an entry is at least its share of the bytes, so that there are at most cache_entries of them.
        self._least_bytes = limits.cache_bytes // limits.cache_entries
        self._lock = threading.Lock()
        self._entries: cachetools.LRUCache[bytes, CompiledSchema | _Refusal] = cachetools.LRUCache(
            limits.cache_bytes, getsizeof=self._size
        )

    def __len__(self) -> int:
        """Return the number of cached schemas and refusals."""
        return len(self._entries)

    @property
    def estimated_bytes(self) -> int:
        """Estimated memory of all entries."""
        return int(self._entries.currsize)

    def compiled(self, parameters: object) -> CompiledSchema:
        """Return the compiled form of a tool's parameters, given as in the request.

        Raises:
            NotCompilableError: this schema cannot be used.
        """
        try:
            key = orjson.dumps(parameters)
        except orjson.JSONEncodeError as error:
            raise NotCompilableError("not_json") from error
        if len(key) > self._limits.schema_bytes:
            raise NotCompilableError("schema_bytes", limit=True)
        with self._lock:
            entry = self._entries.get(key)
        if entry is None:
            entry = self._compile(key)
            with self._lock:
                if self._size(entry) <= self._entries.maxsize:
                    self._entries[key] = entry
        if isinstance(entry, _Refusal):
            raise NotCompilableError(entry.detail, limit=entry.limit)
        return entry

    def _compile(self, key: bytes) -> CompiledSchema | _Refusal:
        try:
            # From the text, since the client's objects may be of any type that orjson serialises.
            prepared = prepare(orjson.loads(key), self._limits)
            return CompiledSchema(key, prepared, self._engine, self._limits)
        except NotCompilableError as refusal:
            # Stored as a record: an exception that is raised repeatedly accumulates tracebacks and their frames.
            return _Refusal(refusal.detail, refusal.limit, len(key))

    def _size(self, entry: CompiledSchema | _Refusal) -> int:
        return max(entry.estimated_bytes(), self._least_bytes)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The cache entry of a schema that does not compile."""

    detail: str
    limit: bool
    key_bytes: int

    def estimated_bytes(self) -> int:
        return self.key_bytes
