"""Defaults and limits of a key or a team.

They are in its LiteLLM metadata: ``exacto: {...}``. Any creator of keys writes this metadata, so it is checked field by
field, and each malformed block is counted and logged once. A malformed limit blocks every request of the key or team;
other malformed fields are ignored.
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
"""Number of checked blocks kept; the block of a key or team rarely changes."""

_UNREADABLE = "..."
"""Placeholder for a value that is malformed in any field.

Examples are an integer beyond 64 bits and hundreds of nested levels.
"""

SOURCES = (("user_api_key_metadata", "set for this key"), ("user_api_key_team_metadata", "set for this team"))
"""LiteLLM's names for the caller's metadata, with a description for clients.

The closest to the caller first.
"""


class KeyBlock(HardFilterSettings):
    """The block of one key or team."""

    default_sort: DefaultSort | None = None
    """Sort of its requests that specify none."""


class ReadBlock(NamedTuple):
    """Contents of a block and its problems."""

    block: KeyBlock
    """The well-formed fields."""
    unreadable: Mapping[str, str] = {}
    """Malformed limits, each with the expected value.

    The name is ``exacto`` for a block that is no mapping.
    """
    problem: str = ""
    """Problems, one line for each field; empty when there are none."""

    def filters(self, source: str) -> tuple[Filter, ...]:
        """Return the hard filters of the block.

        A malformed limit becomes a filter that no deployment passes.

        Args:
            source: origin of the block, as shown to the client.
        """
        closed = (Filter(name, (), source, expected) for name, expected in self.unreadable.items())
        return (*closed, *self.block.filters(source))


def read_block(block: object, where: str = BLOCK) -> ReadBlock:
    """Check a block field by field.

    Args:
        block: the value under ``exacto`` in the metadata.
        where: name of the block in messages.
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
    """Describe the expected value of a limit without quoting the actual one."""
    loc, expected = fault["loc"], expectation(fault)
    if fault["type"] == "extra_forbidden":
        loc, expected = loc[:-1], f"one of {', '.join(keys_at(KeyBlock, loc[:-1]))}"
    inside = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc[1:])
    return f"{expected} at {loc[0]}{inside}" if inside else expected


class Defaults(NamedTuple):
    """Defaults and limits of a caller, beside the settings."""

    default_sort: DefaultSort | None = None
    """Default sort of the key, else of the team."""
    filters: tuple[Filter, ...] = ()


NO_DEFAULTS = Defaults()


def caller_hard_filter(kwargs: Mapping[str, Any]) -> str | None:
    """Return the first hard filter of a caller's key or team, not checked.

    None without any.
    """
    written = {name for block, _ in _blocks(kwargs) for name in (block if isinstance(block, dict) else (BLOCK,))}
    return next((name for name in (BLOCK, *HardFilterSettings.model_fields) if name in written), None)


def _blocks(kwargs: Mapping[str, Any]) -> list[tuple[object, str]]:
    """Return the blocks of a request's key and team, each with its origin."""
    found: list[tuple[object, str]] = []
    is_told = False
    for bucket in (kwargs.get("metadata"), kwargs.get("litellm_metadata")):
        if isinstance(bucket, dict):
            is_told = _add_blocks(found, bucket) or is_told
    if not is_told and (state := CURRENT.get()) is not None and state.caller:
        _add_blocks(found, state.caller)  # LiteLLM routes it without the caller's metadata
    return found


def _add_blocks(found: list[tuple[object, str]], bucket: Mapping[str, Any]) -> bool:
    """Add the blocks in a dictionary; return whether it has metadata of the caller."""
    is_told = False
    for name, source in SOURCES:
        if name in bucket:
            is_told, metadata = True, bucket[name]
            if isinstance(metadata, dict) and (block := metadata.get(BLOCK)) is not None:
                found.append((block, source))
    return is_told


class KeyDefaults:
    """Reader of the callers' blocks, with a cache.

    Args:
        faults: counts malformed blocks, once for each.
    """

    def __init__(self, faults: FaultReporter) -> None:
        self._faults = faults
        self._known: LRUCache[bytes, ReadBlock] = LRUCache(_REMEMBERED)

    def of(self, kwargs: Mapping[str, Any]) -> Defaults:
        """Return the defaults and limits of the caller of a request.

        Args:
            kwargs: the request as LiteLLM routes it. LiteLLM itself writes the caller's metadata into it, and removes
                values that clients sent under the same names.
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
