"""Tool names that LiteLLM shortens for providers with OpenAI's limit.

On the Messages API, LiteLLM replaces a longer name by its beginning and a hash, and restores it for the client. Its log
events of whole answers have the short name.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.core.scoring.fields import MAPPINGS, get_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST: Final = 64
"""Longest name that LiteLLM passes on unchanged; source: its ``OPENAI_MAX_TOOL_NAME_LENGTH``."""
_HASH_CHARS: Final = 8


def short_name(name: str) -> str:
    """Return a name in LiteLLM's short form, as its ``truncate_tool_name`` does."""
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_CHARS]
    return f"{name[: _LONGEST - _HASH_CHARS - 1]}_{digest}"


def full_name(name: str, tools: Sequence[Any]) -> str:
    """Return the client's name of a tool that a call names in short form.

    Args:
        name: of the call.
        tools: as the client sent them.
    """
    if len(name) != _LONGEST:
        return name
    offered = (get_text(tool, "name") for tool in tools)
    return next((one for one in offered if len(one) > _LONGEST and short_name(one) == name), name)


def with_short_names(tools: Sequence[Any]) -> Sequence[Any]:
    """Return the tools, each long name also in short form; unchanged without one.

    A model writes the names that it got, and in the text of an answer LiteLLM restores none.

    Args:
        tools: as the client sent them.
    """
    short = []
    for tool in tools:
        name = tool.get("name") if isinstance(tool, MAPPINGS) else None
        if isinstance(name, str) and len(name) > _LONGEST:
            short.append({**tool, "name": short_name(name)})
    return [*tools, *short] if short else tools
