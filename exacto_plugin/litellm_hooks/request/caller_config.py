"""Checks of the key and team blocks in LiteLLM's own configuration.

Only these blocks can be checked before requests arrive. All other keys and teams, with their metadata, are in LiteLLM's
database, in tokens or in the result of its custom authentication, and are first seen in requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from exacto_plugin.core.routing.filters import BLOCK
from exacto_plugin.litellm_hooks.request.key_defaults import read_block

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS: Final = "litellm_settings"
_DEFAULTS: Final = ("default_key_generate_params", "default_team_params")
"""Settings from which LiteLLM takes the metadata of new keys and teams."""
_LOGGERS: Final = "default_team_settings"
"""Setting that LiteLLM passes to a team's loggers and to nothing else."""


def caller_problems(config: Mapping[str, object]) -> list[str]:
    """Return the problems of these blocks, one line each.

    Args:
        config: LiteLLM's ``config.yaml``, parsed.
    """
    return list(_problems(_mapping(config.get(_SETTINGS))))


def _problems(settings: Mapping[str, object]) -> Iterator[str]:
    for name in _DEFAULTS:
        where = f"{_SETTINGS}.{name}.metadata.{BLOCK}"
        block = _mapping(_mapping(settings.get(name)).get("metadata")).get(BLOCK)
        read = read_block(block, where) if block is not None else None
        if read is not None and read.problem:
            yield from read.problem.splitlines()
        if read is not None and read.unreadable:
            yield f"{where}: a limit cannot be read, so every request of a key or team created with it is refused"
    teams = settings.get(_LOGGERS)
    for number, team in enumerate(teams if isinstance(teams, list) else ()):
        held = (_mapping(team), _mapping(_mapping(team).get("metadata")))
        if any(BLOCK in one for one in held):
            yield (
                f"{_SETTINGS}.{_LOGGERS}[{number}]: {BLOCK} has no effect there, since LiteLLM passes these settings to"
                " loggers only; move it to the metadata of the team"
            )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
