"""Recognises the calls in an answer that its provider has run itself.

Some APIs show the use of a provider's own tools among the calls, under names that the request does not list: LiteLLM
lists Anthropic's web search as a function call, and xAI's ``x_search`` appears as custom tool calls such as
``x_keyword_search``. No client answers such a call, so it is evidence of nothing. A call of a listed tool is never one
of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exacto_plugin.core.scoring.tools import ToolKind, find_tool, is_open_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.core.scoring.evaluation import ToolCall

SERVER_CALL_PREFIX: Final = "srvtoolu_"
"""Prefix of the ids of calls that Anthropic runs itself.
LiteLLM lists them among the others, and no message answers them."""


def is_providers_own(call: ToolCall, tools: Sequence[object], sent: Callable[[], Sequence[object]]) -> bool:
    """Check that the provider ran a call itself.

    Args:
        call: of the answer.
        tools: the request's tools, as the client sent them.
        sent: returns the tools that the provider got, where they are known. A built-in tool that LiteLLM added for
            another parameter (``web_search_options``) is only there. Called for unlisted names only.
    """
    if find_tool(tools, call.name) is not None:
        return False
    if call.id.startswith(SERVER_CALL_PREFIX):
        return True
    added = find_tool(sent(), call.name)
    if added is not None and added.kind is ToolKind.BUILT_IN:
        return True
    # A client gets free text only for a custom tool that it has listed; function calls have another form.
    return call.custom and is_open_set(tools)
