"""What a key or a team has as defaults and limits: ``exacto: {...}`` in their LiteLLM metadata.

Metadata is written by whoever makes keys, so it is checked field by field: what is malformed is left out, counted and
said once; the request goes on with the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from cachetools import LRUCache
from pydantic import ValidationError

from exacto_plugin.errors import SettingsError
from exacto_plugin.limits import DefaultSort, Limits
from exacto_plugin.settings_faults import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.core.policy import Filter
    from exacto_plugin.litellm_hooks.faults import Faults

BLOCK = "exacto"
"""Key of the block in the metadata of keys and teams."""

_REMEMBERED = 4096
"""Blocks that are kept checked; a key's or team's block rarely changes."""

_UNREADABLE = "..."
"""Stands for a value that no field can hold: an integer beyond 64 bits, hundreds of levels. Malformed in any field."""

_SOURCES = (("user_api_key_metadata", "set for this key"), ("user_api_key_team_metadata", "set for this team"))
"""LiteLLM's names for the metadata of the caller, the closest first, and what clients are told of each."""


class CallerBlock(Limits):
    """The block of one key or team."""

    default_sort: DefaultSort | None = None
    """Order of its requests that ask for none."""


class Defaults(NamedTuple):
    """What holds for a caller beside the settings."""

    default_sort: DefaultSort | None = None
    """The key's, else the team's."""
    filters: tuple[Filter, ...] = ()


NO_DEFAULTS = Defaults()


def caller_promise(kwargs: Mapping[str, Any]) -> str | None:
    """The first hard filter of a caller's key or team, not checked; None without any."""
    written = {name for block, _ in _blocks(kwargs) if isinstance(block, dict) for name in block}
    return next((name for name in Limits.model_fields if name in written), None)


def _blocks(kwargs: Mapping[str, Any]) -> list[tuple[object, str]]:
    """The blocks of a request's key and team, each with who set it."""
    return [
        (block, source)
        for bucket in (kwargs.get("metadata"), kwargs.get("litellm_metadata"))
        if isinstance(bucket, dict)
        for name, source in _SOURCES
        if isinstance(metadata := bucket.get(name), dict) and (block := metadata.get(BLOCK)) is not None
    ]


class CallerDefaults:
    """Reads the blocks of callers.

    Args:
        faults: counts malformed blocks, once for each.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._known: LRUCache[bytes, CallerBlock] = LRUCache(_REMEMBERED)

    def of(self, kwargs: Mapping[str, Any]) -> Defaults:
        """The defaults and limits of the caller of a request.

        Args:
            kwargs: the request as LiteLLM routes it. LiteLLM itself writes the caller's metadata into it, and takes
                out what clients put there under the same names.
        """
        found = [(self._block(block), source) for block, source in _blocks(kwargs)]
        if not found:
            return NO_DEFAULTS
        sorts = (block.default_sort for block, _ in found if block.default_sort is not None)
        filters = (filter_ for block, source in found for filter_ in block.filters(source))
        return Defaults(next(sorts, None), tuple(filters))

    def _block(self, block: object) -> CallerBlock:
        try:
            name = _name(block)
        except orjson.JSONEncodeError:
            block = {key: _writable(value) for key, value in block.items()} if isinstance(block, dict) else _UNREADABLE
            name = _name(block)
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._checked(block)
        return known

    def _checked(self, block: object) -> CallerBlock:
        try:
            return CallerBlock.model_validate(block)
        except ValidationError as error:
            self._faults.report("caller_metadata", SettingsError(explain(error, CallerBlock, BLOCK)))
            bad = {fault["loc"][0] for fault in error.errors(include_url=False) if fault["loc"]}
        kept = {key: value for key, value in block.items() if key not in bad} if isinstance(block, dict) else {}
        return CallerBlock.model_validate(kept)


def _name(block: object) -> bytes:
    return orjson.dumps(block, default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)


def _writable(value: object) -> object:
    try:
        _name(value)
    except orjson.JSONEncodeError:
        return _UNREADABLE
    return value
