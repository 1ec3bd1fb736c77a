"""Calls that real clients accept and can run, and how each goes wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from tests.clients.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.clients.conversation import Conversation, Offer

LONG_SERVER: Final = "plugin_weather-forecast_weather-forecast"
"""With it, the name of the server's tool has more than the 64 characters that OpenAI allows."""

_LEAKS: Final = (
    '<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>',
    '{{"name": "{name}", "arguments": {arguments}}}',
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.{name}:0<|tool_call_argument_begin|>{arguments}"
    "<|tool_call_end|><|tool_calls_section_end|>",
)
"""Hermes and Qwen, Llama, Kimi K2."""


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One call as it is sent."""

    id: str
    name: str
    arguments: str
    namespace: str = ""
    custom: bool = False
    """True for plain text instead of JSON arguments."""
    search: bool = False
    """True for a search of tools, which is an item of its own."""


def _arguments(offer: Offer, marker: str, directory: str) -> Any:
    """Return good arguments for a known tool; None for another."""
    known: dict[str, Any] = {
        "Bash": {"command": f"echo {marker}", "description": "Say it"},
        "Read": {"file_path": f"{directory}/notes.txt"},
        "Write": {"file_path": f"{directory}/{marker}.txt", "content": "x"},
        "TaskCreate": {"subject": marker, "description": "Nothing"},
        "TaskList": {},
        "WebSearch": {"query": f"weather {marker}"},
        "Agent": {
            "description": "Do two things",
            "prompt": f"calls=2 dir={directory} of {marker}",
            "subagent_type": "general-purpose",
        },
        "exec_command": {"cmd": f"echo {marker}"},
        "get_goal": {},
        "spawn_agent": {"message": f"calls=2 dir={directory} of {marker}"},
        "list_agents": {},
        "tool_search": {"query": "compare daily temperatures of two cities"},
        "apply_patch": f"*** Begin Patch\n*** Add File: {marker}.txt\n+x\n*** End Patch\n",
        "exec": f'const r = await tools.exec_command({{"cmd": "echo {marker}"}}); text(r.output);\n',
    }
    # Codex writes underscores, and LiteLLM may have shortened the rest.
    if LONG_SERVER.replace("-", "_") in f"{offer.namespace}{offer.name}".replace("-", "_"):
        return {"first": "Paris", "second": marker}
    found: Any = known.get(offer.name.rpartition("__")[2])
    if offer.name.endswith("spawn_agent") and "task_name" in ((offer.schema or {}).get("required") or ()):
        return {**found, "task_name": f"task_{marker}", "fork_turns": "none"}
    is_text = isinstance(found, str)
    if is_text and offer.schema is not None:  # a tool of plain text, as a function
        return {"input": found} if "input" in (offer.schema.get("properties") or {}) else None
    return found if is_text == (offer.schema is None) else None


def runnable(asked: Conversation, number: int, marker: str) -> list[ScriptedCall]:
    """Return two good calls of tools that the request offers; one that must be alone; or none if none is known."""
    waiting = next((offer for offer in asked.offers if offer.name.endswith("wait_agent")), None)
    if asked.agent is not None and waiting is not None:
        target = {"targets": [asked.agent]} if asked.agent else {}
        return [_call(waiting, {**target, "timeout_ms": 20_000}, f"call_{marker}_0")]
    searched = any(offer.namespace for offer in asked.offers)
    known = [(offer, _arguments(offer, marker, asked.directory)) for offer in asked.offers]
    found = [(offer, value) for offer, value in known if value is not None and not (offer.search and searched)]
    chosen = [found[(number + place) % len(found)] for place in range(2 if found else 0)]
    return [_call(offer, value, f"call_{marker}_{place}") for place, (offer, value) in enumerate(chosen)]


def _call(offer: Offer, value: Any, identity: str) -> ScriptedCall:
    # Codex reads no empty text as arguments; Claude Code does.
    text = value if isinstance(value, str) else "" if offer.name == "TaskList" else json.dumps(value)
    return ScriptedCall(identity, offer.name, text, offer.namespace, offer.schema is None, offer.search)


def spoilt(call: ScriptedCall, truth: Truth, offers: Sequence[Offer], number: int) -> ScriptedCall | None:
    """Return a call that is bad in the way of ``truth``; None if this one cannot be."""
    if call.search:
        return None
    if truth is Truth.UNKNOWN_NAME:
        return replace(call, name=f"run_{call.name.rpartition('__')[2]}")
    schema = next((one.schema for one in offers if (one.name, one.namespace) == (call.name, call.namespace)), None)
    required = (schema or {}).get("required") or ()
    if call.custom or not required:
        return None
    if truth is Truth.SCHEMA_MISMATCH:
        arguments = json.loads(call.arguments)
        wrong = {required[0]: 7} if number % 2 else {}
        kept = {key: value for key, value in arguments.items() if key != required[0]}
        return replace(call, arguments=json.dumps({**kept, **wrong}))
    cut = len(call.arguments) // 2 if truth is Truth.CUT_OFF else -1
    return replace(call, arguments=call.arguments[:cut])


def leaked(call: ScriptedCall, number: int) -> str:
    """Return a call as the raw text of a model."""
    arguments = json.dumps({"input": call.arguments}) if call.custom else call.arguments or "{}"
    return _LEAKS[number % len(_LEAKS)].format(name=call.name, arguments=arguments)
