"""A small MCP server on stdin and stdout, with one tool. Run as a script; imports nothing but the standard library."""

from __future__ import annotations

import json
import sys
from typing import Any

_TOOL = "compare_daily_temperatures_of_two_cities"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"first": {"type": "string"}, "second": {"type": "string"}},
    "required": ["first", "second"],
    "additionalProperties": False,
}


def _result(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        version = params.get("protocolVersion", "2025-06-18")
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "w", "version": "1"}}
    if method == "tools/list":
        return {"tools": [{"name": _TOOL, "description": "Compare two cities", "inputSchema": _SCHEMA}]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": f"equal {json.dumps(params.get('arguments'))}"}]}
    return {}


def main() -> None:
    """Answer every request until the end of the input."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked:
            answer = {
                "jsonrpc": "2.0",
                "id": asked["id"],
                "result": _result(asked["method"], asked.get("params") or {}),
            }
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
