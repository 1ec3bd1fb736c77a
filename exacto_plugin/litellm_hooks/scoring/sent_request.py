"""The request that the provider got, as far as LiteLLM logs it.

LiteLLM takes tools, tool choices and limits out that a provider does not support, adds built-in tools for other
parameters, and renames tools. Read only where a flaw would be attributed to the provider, since a body may be long and
may have to be parsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import orjson

from exacto_plugin.core.scoring.fields import MAPPINGS, get_field
from exacto_plugin.core.scoring.tools import has_built_in
from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY

_CHOICES: Final = ("tool_choice", "function_call", "toolConfig", "tool_config", "tool_choice_option")
_LIMITS: Final = (
    "max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "maxOutputTokens", "maxTokens",
    "num_predict",
)  # fmt: skip
_HOLDER_KEYS: Final = frozenset(
    {"extra_body", "generationConfig", "generation_config", "inferenceConfig", "options", "config"}
)
"""Keys under which Gemini, Bedrock and Ollama have the limit."""

_WITHOUT_CHOICE: Final = ("ollama", "ollama_chat")
"""Providers whose bodies LiteLLM does not log, and to which it sends no choice."""
_LIMIT_KEYS: Final = frozenset(_LIMITS)

EARLIER_ANSWERS: Final = ("previous_response_id", "conversation")
"""Parameters of a Responses request whose history is stored elsewhere."""

_TOOL_SEARCH: Final = "tool_search"
_WEB_SEARCH: Final = "web_search"
"""Prefixes of the types of built-in tools."""

_MOST_CHARS: Final = 32 * 1024 * 1024
"""Size up to which a body is parsed.
LiteLLM's own limit of a request body is lower."""


class SentRequest:
    """The request that was sent, read when needed.

    Args:
        details: LiteLLM's ``model_call_details``.
    """

    def __init__(self, details: Mapping[str, Any]) -> None:
        self._details = details

    @property
    def _logged(self) -> Any:
        """The body as LiteLLM logged it: an object, its JSON text, or None."""
        return (self._details.get("additional_args") or {}).get("complete_input_dict")

    @property
    def _unparsed(self) -> Mapping[str, Any]:
        """The body where LiteLLM logged it as an object; empty otherwise."""
        return self._logged if isinstance(self._logged, Mapping) else {}

    @cached_property
    def _body(self) -> Mapping[str, Any]:
        """The body; empty where LiteLLM did not log it."""
        logged = self._logged
        if isinstance(logged, str | bytes) and len(logged) <= _MOST_CHARS:
            try:
                logged = orjson.loads(logged)
            except orjson.JSONDecodeError:
                return {}
        return logged if isinstance(logged, Mapping) else {}

    @property
    def _parameters(self) -> Mapping[str, Any]:
        """LiteLLM's parameters, in the form of the API or of LiteLLM."""
        return self._details.get("optional_params") or {}

    @property
    def tools(self) -> Sequence[Any]:
        """The tools as sent; empty without any, and where they are not logged."""
        holder = self._body or self._parameters
        configured = holder.get("toolConfig")
        found = holder.get("tools") or (configured.get("tools") if isinstance(configured, Mapping) else None)
        return found if isinstance(found, list | tuple) else ()

    def choice(self, asked: Any) -> Any:
        """Return the tool choice as sent, in any form; None if none was sent.

        Args:
            asked: the client's choice, which is returned where nothing was logged.
        """
        if self._body:
            return _found(self._body, _CHOICES)
        if not self._parameters:
            return asked
        dropped = self._details.get("custom_llm_provider") in _WITHOUT_CHOICE
        return None if dropped else _found(self._parameters, _CHOICES)

    @property
    def opens_tools(self) -> bool:
        """True if a parameter brings tools that no list names.

        These are a web search by ``web_search_options`` only (LiteLLM also translates a listed tool to it, and it to a
        tool), a prompt that OpenAI stores with its tools, and an earlier answer that OpenAI stores, after which a tool
        search may have found more.
        """
        parameters, unparsed = self._parameters, self._unparsed
        searches_web = (parameters.get("web_search_options"), unparsed.get("web_search_options")) != (None, None)
        if searches_web and not self._lists(_WEB_SEARCH) and not has_built_in(self.tools):
            return True
        if isinstance(parameters.get("prompt"), Mapping) or isinstance(unparsed.get("prompt"), Mapping):
            return True
        return any(parameters.get(key) for key in EARLIER_ANSWERS) and self._lists(_TOOL_SEARCH)

    def _lists(self, kind: str) -> bool:
        """Return whether the client listed a tool whose type begins so."""
        return any(str(get_field(tool, "type")).startswith(kind) for tool in self._details.get(TOOLS_KEY) or ())

    @property
    def token_limit(self) -> int | None:
        """The lowest limit on the answer's tokens; None without one."""
        details, found = self._details, list[Any]()
        logged = (details.get("additional_args") or {}).get("complete_input_dict")
        for holder in (details.get("optional_params"), logged):
            if not holder or not isinstance(holder, MAPPINGS):
                continue
            if not _LIMIT_KEYS.isdisjoint(holder):
                found += map(holder.get, _LIMITS)
            for key in _HOLDER_KEYS.intersection(holder):
                if isinstance(within := holder[key], MAPPINGS) and not _LIMIT_KEYS.isdisjoint(within):
                    found += map(within.get, _LIMITS)
        return min((one for one in found if isinstance(one, int) and one > 0), default=None) if found else None


def _found(body: Mapping[str, Any], keys: Sequence[str]) -> Any:
    extra = body.get("extra_body")
    holders = (body, extra) if isinstance(extra, Mapping) else (body,)
    return next((value for each in holders for key in keys if (value := each.get(key)) is not None), None)
