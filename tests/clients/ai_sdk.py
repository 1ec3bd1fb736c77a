"""Runs the AI SDK of the cache: text and tools on every surface, streamed and whole."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.clients.both_proxies import VOLATILE, stable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SURFACES: Final = {
    "chat": ("sdk-chat", "sdk-messages"),
    "openai-chat": ("sdk-responses",),
    "text": ("sdk-responses",),
    "responses": ("sdk-responses", "sdk-chat"),
    "messages": ("sdk-messages", "sdk-chat"),
}
"""Model groups of each of its models, in the client's own form and in another."""
_SCRIPT: Final = Path(__file__).with_name("ai_sdk.mjs")
_LONGEST_S: Final = 1_800.0
_VOLATILE: Final = VOLATILE | {"toolCallId", "itemId", "responseId", "timestamp", "headers", "request", "body"}


def asks(texts: int, calls: int) -> Iterator[dict[str, Any]]:
    """Yield what is asked for: on every surface so many texts, and one conversation with so many calls.

    Args:
        texts: streamed; an eighth of them whole as well.
        calls: of the conversation with tools, streamed and whole.
    """
    for surface, groups in SURFACES.items():
        for group in groups:
            ask = {"surface": surface, "model": group, "tools": False}
            for number in range(texts):
                yield {**ask, "prompt": f"Who was Ada Lovelace? No. {number}", "stream": True}
                if number % 8 == 0:
                    yield {**ask, "prompt": f"Who was Ada Lovelace? No. {number}", "stream": False}
            for stream in (True, False) if surface != "text" else ():
                yield {**ask, "tools": True, "prompt": f"calls={calls} dir=/tmp please", "stream": stream}


def run_ai_sdk(cache: Path, url: str, key: str, wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the program got for each of these, without ids and times.

    Raises:
        subprocess.CalledProcessError: the program ended with an error.
    """
    told = json.dumps({"cache": str(cache.resolve()), "url": url, "key": key, "asks": wanted})
    done = subprocess.run(
        ["node", str(_SCRIPT)], input=told, capture_output=True, text=True, check=True, timeout=_LONGEST_S
    )
    return [stable(json.loads(line), _VOLATILE) for line in done.stdout.split("\n") if line.startswith("{")]
