"""Rewrites newer JSON Schema keywords as draft-7 ones, one object at a time.

Tool schemas are validated as draft 7, but generators emit 2019-09 and 2020-12, and the validator behind the published
rule (@cfworker/json-schema) enforces their keywords under draft 7 too. A draft-7 engine ignores them, which can
reverse a verdict: ``prefixItems`` with ``items: false`` would refuse every array. Does not descend into subschemas.
"""

from __future__ import annotations

from typing import Final

from exacto_plugin.core.scoring.limits import NotCompilableError

JsonObject = dict[str, object]

NEWER_KEYWORDS: Final = frozenset(
    {
        "prefixItems",
        "dependentRequired",
        "dependentSchemas",
        "minContains",
        "maxContains",
        "unevaluatedProperties",
        "unevaluatedItems",
        "$dynamicRef",
        "$recursiveRef",
    }
)

_APPLICATORS: Final = frozenset(
    {"$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependencies", "dependentSchemas"}
)
"""Keywords that change ``unevaluatedProperties``.
Beside one of them it differs from ``additionalProperties``."""


def in_draft7(schema: JsonObject) -> tuple[JsonObject, bool]:
    """Rewrite a schema object in draft-7 keywords.

    The argument is not changed; subschemas are shared with it.

    Returns:
        The schema object, and True if it accepts more than before.

    Raises:
        NotCompilableError: a newer keyword has a value of the wrong type.
    """
    if NEWER_KEYWORDS.isdisjoint(schema):
        return schema, False
    plain = dict(schema)
    _rewrite_prefix_items(plain)
    _rewrite_dependents(plain)
    looser = _rewrite_contains(plain)
    looser |= _rewrite_unevaluated(plain, schema)
    for word in ("unevaluatedItems", "$dynamicRef", "$recursiveRef"):
        looser |= plain.pop(word, None) is not None
    return plain, looser


def _rewrite_prefix_items(schema: JsonObject) -> None:
    """Rewrite ``prefixItems`` as an ``items`` array.

    ``items`` beside it becomes ``additionalItems``.
    """
    if "prefixItems" not in schema:
        return
    prefix = schema.pop("prefixItems")
    if not isinstance(prefix, list) or isinstance(schema.get("items"), list):
        raise NotCompilableError("malformed")
    if not prefix:
        return
    schema.pop("additionalItems", None)
    if "items" in schema:
        schema["additionalItems"] = schema["items"]
    schema["items"] = prefix


def _rewrite_dependents(schema: JsonObject) -> None:
    """Rewrite ``dependentRequired`` and ``dependentSchemas`` as ``dependencies``."""
    halves = [schema.pop(word) for word in ("dependentRequired", "dependentSchemas") if word in schema]
    if not halves:
        return
    together = schema.get("dependencies", {})
    if not isinstance(together, dict):
        raise NotCompilableError("malformed")
    together = dict(together)
    for half in halves:
        if not isinstance(half, dict):
            raise NotCompilableError("malformed")
        for name, needed in half.items():
            together[name] = {"allOf": [_as_schema(together[name]), _as_schema(needed)]} if name in together else needed
    schema["dependencies"] = together


def _as_schema(dependency: object) -> object:
    return {"required": dependency} if isinstance(dependency, list) else dependency


def _rewrite_contains(schema: JsonObject) -> bool:
    """Remove ``minContains`` and ``maxContains``; return True if that accepts more.

    Draft 7 can only express "at least one"; with ``minContains: 0`` none is required.
    """
    least, most = schema.pop("minContains", 1), schema.pop("maxContains", None)
    if "contains" not in schema:
        return False
    if least == 0 and not isinstance(least, bool):
        del schema["contains"]
        return most is not None
    return least != 1 or most is not None


def _rewrite_unevaluated(schema: JsonObject, original: JsonObject) -> bool:
    """Rewrite ``unevaluatedProperties``; return True if the schema accepts more.

    Without an applicator beside it, it equals ``additionalProperties``.
    """
    rest = schema.pop("unevaluatedProperties", None)
    if rest is None or "additionalProperties" in schema:
        return False  # with additionalProperties beside it nothing is left unevaluated
    if _APPLICATORS.isdisjoint(original):
        schema["additionalProperties"] = rest
        return False
    return rest is not True
