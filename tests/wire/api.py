"""The API under ``/exacto/api``: routes and parameters, and every key of every answer."""

from __future__ import annotations

from typing import Any

from tests.wire.plain import shape
from tests.wire.story import NAMES, story


def api_routes() -> Any:
    """Paths, methods, parameters and bodies."""
    schema = story().schema
    bodies = schema["components"]["schemas"]

    def parameter(one: dict[str, Any]) -> list[Any]:
        return [one["name"], one["in"], one["required"], _kind(one["schema"])]

    def operation(one: dict[str, Any]) -> Any:
        body = one.get("requestBody")
        named = None if body is None else next(iter(body["content"].values()))["schema"]["$ref"].rsplit("/", 1)[1]
        told: dict[str, Any] = {"parameters": [parameter(each) for each in one.get("parameters", ())]}
        if named is not None:
            fields, needed = bodies[named]["properties"], bodies[named].get("required", [])
            told["body"] = {name: [name in needed, _kind(field)] for name, field in fields.items()}
        return told

    return {
        f"{method.upper()} {path}": operation(one)
        for path, methods in schema["paths"].items()
        for method, one in methods.items()
    }


def _kind(schema: dict[str, Any]) -> Any:
    """What JSON may be there, without titles and texts."""
    if "anyOf" in schema:
        return [_kind(one) for one in schema["anyOf"]]
    if "$ref" in schema:
        return "text of a closed set"
    if schema.get("type") == "array":
        return {"array of": _kind(schema["items"])}
    return schema.get("enum") or schema.get("type")


def api_answers() -> Any:
    """Paths and types of all values of each answer."""
    return {name: shape(answer, NAMES) for name, answer in story().answers.items()}


SECTIONS = (api_routes, api_answers)
