"""Parts of a request's body that somebody reads after LiteLLM: tools, choices, histories, ``provider`` objects."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.bodies import json_values

_ids: st.SearchStrategy[Any] = st.sampled_from(["i", "j", "", None, 1, ["i"]])
_names: st.SearchStrategy[Any] = st.sampled_from(["called", "other", "", None, 1, {}])
_wrapped = st.dictionaries(
    st.sampled_from(["name", "id", "call_id", "toolUseId", "mode", "tools", "allowedFunctionNames", "type"]),
    _names | _ids | json_values(),
    max_size=3,
)
_blocks = st.dictionaries(
    st.sampled_from(
        ["type", "id", "tool_use_id", "call_id", "toolUse", "toolResult", "functionCall", "functionResponse", "text"]
    ),
    st.sampled_from(["tool_use", "tool_result", "function_call", "function_call_output", "item_reference", "text"])
    | _ids
    | _wrapped,
    max_size=3,
)
messages = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "parts", "type", "call_id"]),
    st.sampled_from(["user", "assistant", "tool", "system", "developer", "function_call", "text"])
    | _ids
    | st.lists(_blocks | json_values(), max_size=3),
    max_size=4,
)
histories = st.lists(messages | json_values(), max_size=4) | json_values()
"""``messages``, ``input`` or ``contents``."""

choices: st.SearchStrategy[Any] = (
    st.sampled_from(["auto", "none", "required", "any", "ANY", "x"])
    | st.dictionaries(
        st.sampled_from(
            ["type", "function", "tool", "name", "mode", "tools", "allowed_tools", "functionCallingConfig", "any"]
        ),
        st.sampled_from(["function", "tool", "custom", "allowed_tools", "any", "web_search", "called"])
        | _wrapped
        | st.lists(_wrapped, max_size=2)
        | json_values(),
        max_size=3,
    )
    | json_values()
)
"""``tool_choice`` and what it is called elsewhere."""

_FIELDS = (
    *("order", "only", "ignore", "sort", "max_price", "quantizations", "zdr", "data_collection", "allow_fallbacks"),
    *("require_parameters", "preferred_min_throughput", "preferred_max_latency", "default_sort", "x"),
)

provider_objects: st.SearchStrategy[Any] = (
    st.dictionaries(
        st.sampled_from(_FIELDS),
        st.sampled_from(["price", "throughput", "deny", "unknown", True, False, 1, 0.5, -1, "1"])
        | st.lists(st.sampled_from(["deepinfra", "x", "", 1, None]), max_size=3)
        | st.dictionaries(
            st.sampled_from(["by", "partition", "p50", "p99", "prompt", "completion", "x"]),
            st.sampled_from(["price", "model", "none", 1, 0, -1, "1", True, None, 10**400, float("nan")]),
            max_size=3,
        )
        | json_values(),
        max_size=4,
    )
    | json_values()
)

_contents = st.text(max_size=8) | st.sampled_from(
    [
        "litellm:custom_llm_provider:openai;model_id:m;response_id:r",
        "litellm:model_id:",
        "litellm:;;;",
        "a;b",
        "model_id:",
    ]
)
identifiers: st.SearchStrategy[str] = st.builds(
    lambda prefix, content, coded: prefix + (base64.b64encode(content.encode()).decode() if coded else content),
    st.sampled_from(["resp_", "encitem_", "litellm_enc:", "", "rs_", "litellm_enc:YQ==;"]),
    _contents,
    st.booleans(),
)
"""Ids and sealed contents like those that LiteLLM writes a deployment into."""
