"""Finds the tools that a request offers, in the five forms that clients send.

OpenAI chat ``{"type": "function", "function": {...}}``, Responses (the same, flat, also inside a ``namespace``),
Anthropic ``input_schema``, Bedrock ``toolSpec`` and Gemini ``function_declarations``. Built-in tools of the provider
have a type or a key instead of a schema. The search is linear: requests carry up to hundreds of tools and call one or
two of them. Copies, serialises and compiles no schema.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from exacto_plugin.core.scoring.json_schema.openapi import draft7_of

NO_SCHEMA: Final = None
"""The value of ``OfferedTool.parameters`` for a tool that declares none."""

_OPEN_SETS: Final = ("mcp", "toolset")
"""Type prefixes of entries that add tools which the request does not list."""

_CLOSED_SETS: Final = (
    "function", "custom", "web_search", "file_search", "code_interpreter", "image_generation", "computer",
    "local_shell", "shell", "apply_patch", "tool_search",
)  # fmt: skip
"""Type prefixes of entries without a name that add no unlisted function.
OpenAI's tools: their calls are items of types of their own, and a tool search finds deferred tools that the request
lists, or that an earlier search of the client has put into its input (source: OpenAI's guide "Tool search"). Any other
entry without a name may add tools under names of the provider's, as xAI's ``x_search`` does (``x_keyword_search``,
``x_user_search``)."""

_NAMESPACE: Final = "namespace"
_JOINTS: Final = (".", "__")
"""Joints of the name of a namespace and that of its tool.
Responses has two fields, models write a dot, and LiteLLM two underscores."""

_GEMINI: Final = ("function_declarations", "functionDeclarations")

_COMPLEXITY_STEPS: Final = (8, 32, 128)
"""Upper bounds of buckets 0 to 2 of tools plus top-level properties.
They are a factor of 4 apart. A BFCL request (1 to 4 tools) falls in 0 or 1, tau2-bench airline (14 tools) in 2,
agents with several MCP servers in 3."""


class ToolKind(StrEnum):
    """The content of a call of the tool."""

    FUNCTION = "function"
    """JSON arguments under the caller's schema."""
    BUILT_IN = "built_in"
    """JSON arguments under a schema of the provider that the request does not contain."""
    FREE_TEXT = "free_text"
    """Plain text or a grammar of its own (OpenAI's custom tools); not JSON."""


class OfferedTool(NamedTuple):
    """One tool that a call may name.

    A tuple, because one is created for every call.
    """

    kind: ToolKind
    parameters: object = NO_SCHEMA
    """The JSON Schema of its arguments, as the client sent it."""


_BUILT_IN = OfferedTool(ToolKind.BUILT_IN)
_FREE_TEXT = OfferedTool(ToolKind.FREE_TEXT)


def find_tool(tools: Sequence[object], name: str) -> OfferedTool | None:
    """Return the first offered tool of that name, built-in or not; None if absent."""
    if not name:
        return None
    try:
        # The common form has a loop of its own, which bounds the cost of a request with 200 tools.
        for tool in tools:
            if tool["function"]["name"] == name:  # type: ignore[index]  # any other form raises
                return OfferedTool(ToolKind.FUNCTION, _parameters(tool["function"]))  # type: ignore[index]
    except (KeyError, TypeError, AttributeError):
        return next(find_tools(tools, name), None)
    return None


def find_tools(tools: Sequence[object], name: str) -> Iterator[OfferedTool]:
    """Yield every offered tool of that name, in order; else a built-in one called so.

    Several MCP servers may offer tools of one name.
    """
    if not name:
        return
    found = False
    for tool in tools:
        if isinstance(tool, dict) and _is_other_function(tool, name):
            continue
        for offered, entry in _entries(tool):
            if offered == name or _is_full_name(tool, offered, name):
                found = True
                yield entry._replace(parameters=draft7_of(entry.parameters)) if _is_gemini(tool) else entry
    if not found:
        yield from _variants(tools, name)


def is_one_of(tools: Sequence[object], name: str, names: Collection[str]) -> bool:
    """Check that a call names one of some tools, with or without its namespace."""
    return name in names or any(_is_full_name(tool, own, name) for tool in tools for own in names)


def is_open_set(tools: Sequence[object]) -> bool:
    """Check that the request allows tools that it does not list.

    Examples are MCP servers, provider-run tools of unknown types, and objects of unknown kind.
    """
    return any(not isinstance(tool, Mapping) or _opens(tool) for tool in tools)


def has_built_in(tools: Sequence[object]) -> bool:
    """Check for a tool that the provider runs itself."""
    return any(found.kind is ToolKind.BUILT_IN for tool in tools for _, found in _entries(tool))


def _opens(tool: Mapping[str, object]) -> bool:
    kind = tool.get("type")
    if not isinstance(kind, str):
        return False
    if kind == _NAMESPACE:
        members = tool.get("tools")
        return not isinstance(members, list) or not members or is_open_set(members)
    return kind.startswith(_OPEN_SETS) or not (_named(tool) or "function" in tool or kind.startswith(_CLOSED_SETS))


def complexity(tools: Sequence[object]) -> int:
    """Return the case-mix bucket 0..3 from the numbers of tools and properties.

    Only top-level properties are counted, and no text is read. The cost is at most that of 128 tools, because the
    last bucket is open.
    """
    size = 0
    for tool in tools:
        try:
            size += 1 + len(tool["function"]["parameters"]["properties"])  # type: ignore[index]  # as in find_tool
        except (KeyError, TypeError):
            size += sum(1 + _top_level_properties(found) for _, found in _entries(tool) if found is not _BUILT_IN)
        if size > _COMPLEXITY_STEPS[-1]:
            break
    return sum(size > step for step in _COMPLEXITY_STEPS)


def _top_level_properties(tool: OfferedTool) -> int:
    properties = tool.parameters.get("properties") if isinstance(tool.parameters, Mapping) else None
    return len(properties) if isinstance(properties, Mapping) else 0


def _variants(tools: Sequence[object], name: str) -> Iterator[OfferedTool]:
    """Yield the built-in tools whose calls have other names than their entries.

    Examples: web_search_preview is called as web_search, code_execution as bash_code_execution.
    """
    for tool in tools:
        if isinstance(tool, dict) and _is_other_function(tool, name):
            continue
        for offered, found in _entries(tool):
            if found.kind is ToolKind.BUILT_IN and (offered.startswith(f"{name}_") or name.endswith(f"_{offered}")):
                yield found


def _is_other_function(tool: dict[str, object], name: str) -> bool:
    """Check that an entry is one function of another name.

    This saves most of the work on long lists.
    """
    function = tool.get("function")
    if isinstance(function, dict):
        return function.get("name") != name
    named = tool.get("name")
    return isinstance(named, str) and named != name and ("input_schema" in tool or "parameters" in tool)


def _entries(tool: object) -> Iterator[tuple[str, OfferedTool]]:
    """Yield name and tool of everything that one entry of ``tools`` offers."""
    if not isinstance(tool, Mapping):
        return
    for wrapper in ("function", "toolSpec"):
        wrapped = tool.get(wrapper)
        if isinstance(wrapped, Mapping):
            yield _named(wrapped), OfferedTool(ToolKind.FUNCTION, _parameters(wrapped))
            return
    for plural in _GEMINI:
        declarations = tool.get(plural)
        if isinstance(declarations, Sequence) and not isinstance(declarations, str):
            for declaration in declarations:
                if isinstance(declaration, Mapping):
                    yield _named(declaration), OfferedTool(ToolKind.FUNCTION, _parameters(declaration))
            return
    yield from _flat(tool)


def _is_gemini(tool: object) -> bool:
    return isinstance(tool, Mapping) and any(plural in tool for plural in _GEMINI)


def _flat(tool: Mapping[str, object]) -> Iterator[tuple[str, OfferedTool]]:
    """Yield the tools of flat entries: Responses, Anthropic, and built-in tools."""
    kind, name = tool.get("type"), _named(tool)
    has_schema = "input_schema" in tool or "parameters" in tool
    if kind == _NAMESPACE:
        yield from _members(tool)
    elif kind == "custom" and not has_schema:
        wrapped = tool.get("custom")
        yield _named(wrapped) if isinstance(wrapped, Mapping) else name, _FREE_TEXT
    elif name and (has_schema or kind in (None, "function")):
        yield name, OfferedTool(ToolKind.FUNCTION, _parameters(tool))
    elif isinstance(kind, str) and kind != "function":
        if name:
            yield name, _BUILT_IN
        yield kind, _BUILT_IN
    elif kind is None:
        # Gemini and Bedrock name a built-in tool by its only key: {"google_search": {}}, {"systemTool": {"name": …}}.
        for key, value in tool.items():
            yield key, _BUILT_IN
            if isinstance(value, Mapping) and (inner := _named(value)):
                yield inner, _BUILT_IN


def _members(namespace: Mapping[str, object]) -> Iterator[tuple[str, OfferedTool]]:
    """Yield the tools of a namespace under their own names."""
    members = namespace.get("tools")
    for member in members if isinstance(members, list) else ():
        if isinstance(member, Mapping) and member.get("type") != _NAMESPACE:
            yield from _entries(member)


def _is_full_name(tool: object, own: str, name: str) -> bool:
    """Check for the name of a namespace and one of its tools, joined."""
    if not isinstance(tool, Mapping) or tool.get("type") != _NAMESPACE:
        return False
    return any(name == f"{_named(tool)}{joint}{own}" for joint in _JOINTS)


def _named(entry: Mapping[str, object]) -> str:
    name = entry.get("name")
    return name if isinstance(name, str) else ""


def _parameters(entry: Mapping[str, object]) -> object:
    for key in ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema"):
        if (schema := entry.get(key)) is not None:
            return schema
    bedrock = entry.get("inputSchema")
    return bedrock.get("json") if isinstance(bedrock, Mapping) else NO_SCHEMA
