"""The prompt cache of a simulated provider, by beginnings of prompts.

Message by message, as real caches work block by block; nothing expires, since runs are short. No HTTP and no clock.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CAPACITY: Final = 200_000
"""Most beginnings that are kept."""
_TOKEN_CHARACTERS: Final = 4


def messages_of(body: Mapping[str, Any]) -> list[Any]:
    """Return the messages of a request's body, on any surface.

    System prompts and instructions outside the messages come first.
    """
    said = body.get("messages", body.get("input"))
    before = [text for text in (body.get("system"), body.get("instructions")) if text]
    return [*before, *(said if isinstance(said, list) else [said] if said else [])]


def prompt_tokens(messages: Sequence[Any]) -> int:
    """Return the tokens of some messages."""
    return sum(max(1, len(orjson.dumps(message)) // _TOKEN_CHARACTERS) for message in messages)


class PromptCache:
    """The prompt cache of one provider."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def read(self, messages: Sequence[Any]) -> int:
        """Return the cached tokens of a prompt's beginning, and cache all of it."""
        digest = hashlib.blake2b(digest_size=16)
        cached = tokens = 0
        for message in messages:
            digest.update(orjson.dumps(message))
            tokens += prompt_tokens([message])
            beginning = digest.digest()
            if beginning in self._known:
                cached = tokens
            self._known[beginning] = None
            self._known.move_to_end(beginning)
        while len(self._known) > _CAPACITY:
            self._known.popitem(last=False)
        return cached
