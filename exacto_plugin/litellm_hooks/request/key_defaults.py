"""What a key or a team has as defaults and limits: ``exacto: {...}`` in their LiteLLM metadata.

Metadata is written by whoever makes keys, so it is checked field by field, and what is malformed is counted and said
once. A malformed limit is a promise that nobody can read, so it lets nobody pass; anything else is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from cachetools import LRUCache
from pydantic import ValidationError

from exacto_plugin.config.hard_filters import DefaultSort, HardFilterSettings
from exacto_plugin.config.messages import expectation, format_validation_error, keys_at
from exacto_plugin.core.routing.filters import BLOCK
from exacto_plugin.core.routing.policy import Filter
from exacto_plugin.errors import SettingsError
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from exacto_plugin.litellm_hooks.faults import FaultReporter

_REMEMBERED = 4096
"""Blocks that are kept checked; a key's or team's block rarely changes."""

_UNREADABLE = "..."
"""Stands for a value that no field can hold: an integer beyond 64 bits, hundreds of levels. Malformed in any field."""

SOURCES = (("user_api_key_metadata", "set for this key"), ("user_api_key_team_metadata", "set for this team"))
"""LiteLLM's names for the metadata of the caller, the closest first, and what clients are told of each."""


class KeyBlock(HardFilterSettings):
    """The block of one key or team."""

    default_sort: DefaultSort | None = None
    """Order of its requests that ask for none."""


class ReadBlock(NamedTuple):
    """What a block says, and what is wrong with it."""

    block: KeyBlock
    """What could be read."""
    unreadable: Mapping[str, str] = {}
    """The malformed limits, and what should stand there; ``exacto`` for a block that is no mapping."""
    problem: str = ""
    """What is wrong, a line for each field; empty when nothing is."""

    def filters(self, source: str) -> tuple[Filter, ...]:
        """The hard filters that the block means; a malformed limit lets nobody pass.

        Args:
            source: who set it, in words for the client.
        """
        closed = (Filter(name, (), source, expected) for name, expected in self.unreadable.items())
        return (*closed, *self.block.filters(source))


def read_block(block: object, where: str = BLOCK) -> ReadBlock:
    """Check a block field by field.

    Args:
        block: as it stands under ``exacto`` in the metadata.
        where: how it is called in messages.
    """
    try:
        return ReadBlock(KeyBlock.model_validate(block))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        problem = format_validation_error(error, KeyBlock, where)
    if not isinstance(block, dict):
        return ReadBlock(KeyBlock(), {BLOCK: "a mapping"}, problem)
    bad = {fault["loc"][0]: fault for fault in reversed(faults)}
    read = KeyBlock.model_validate({key: value for key, value in block.items() if key not in bad})
    unreadable = {name: _expected(bad[name]) for name in HardFilterSettings.model_fields if name in bad}
    return ReadBlock(read, unreadable, problem)


def _expected(fault: ErrorDetails) -> str:
    """What should stand in a limit, in words that hold nothing of what does."""
    loc, expected = fault["loc"], expectation(fault)
    if fault["type"] == "extra_forbidden":
        loc, expected = loc[:-1], f"one of {', '.join(keys_at(KeyBlock, loc[:-1]))}"
    inside = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc[1:])
    return f"{expected} at {loc[0]}{inside}" if inside else expected


class Defaults(NamedTuple):
    """What holds for a caller beside the settings."""

    default_sort: DefaultSort | None = None
    """The key's, else the team's."""
    filters: tuple[Filter, ...] = ()


NO_DEFAULTS = Defaults()


def caller_hard_filter(kwargs: Mapping[str, Any]) -> str | None:
    """The first hard filter of a caller's key or team, not checked; None without any."""
    written = {name for block, _ in _blocks(kwargs) for name in (block if isinstance(block, dict) else (BLOCK,))}
    return next((name for name in (BLOCK, *HardFilterSettings.model_fields) if name in written), None)


def _blocks(kwargs: Mapping[str, Any]) -> list[tuple[object, str]]:
    """The blocks of a request's key and team, each with who set it."""
    buckets: list[Mapping[str, Any]]
    buckets = [one for one in (kwargs.get("metadata"), kwargs.get("litellm_metadata")) if isinstance(one, dict)]
    state = CURRENT.get()
    if state is not None and not any(name in bucket for bucket in buckets for name, _ in SOURCES):
        buckets = [state.caller]  # LiteLLM routes it without telling for whom
    return [
        (block, source)
        for bucket in buckets
        for name, source in SOURCES
        if isinstance(metadata := bucket.get(name), dict) and (block := metadata.get(BLOCK)) is not None
    ]


class KeyDefaults:
    """Reads the blocks of callers.

    Args:
        faults: counts malformed blocks, once for each.
    """

    def __init__(self, faults: FaultReporter) -> None:
        self._faults = faults
        self._known: LRUCache[bytes, ReadBlock] = LRUCache(_REMEMBERED)

    def of(self, kwargs: Mapping[str, Any]) -> Defaults:
        """The defaults and limits of the caller of a request.

        Args:
            kwargs: the request as LiteLLM routes it. LiteLLM itself writes the caller's metadata into it, and takes
                out what clients put there under the same names.
        """
        found = [(self._read(block), source) for block, source in _blocks(kwargs)]
        if not found:
            return NO_DEFAULTS
        sorts = (read.block.default_sort for read, _ in found if read.block.default_sort is not None)
        filters = (filter_ for read, source in found for filter_ in read.filters(source))
        return Defaults(next(sorts, None), tuple(filters))

    def _read(self, block: object) -> ReadBlock:
        try:
            name = _name(block)
        except orjson.JSONEncodeError:
            block = {key: _writable(value) for key, value in block.items()} if isinstance(block, dict) else _UNREADABLE
            name = _name(block)
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = read_block(block)
            self._tell(known)
        return known

    def _tell(self, read: ReadBlock) -> None:
        if read.unreadable:
            refused = "a limit cannot be read, so every request of this key or team is refused"
            self._faults.report("caller_limits", SettingsError(f"{read.problem}\n{refused}"))
        elif read.problem:
            self._faults.report("caller_metadata", SettingsError(read.problem))


def _name(block: object) -> bytes:
    return orjson.dumps(block, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def _writable(value: object) -> object:
    try:
        _name(value)
    except orjson.JSONEncodeError:
        return _UNREADABLE
    return value
