"""Presets by their names on the command line, with optional parameter changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exacto_plugin.config.settings import load_settings
from exacto_plugin.config.tiers import TierPreset
from exacto_plugin.config.yaml_text import parse_yaml
from exacto_plugin.errors import SettingsError

if TYPE_CHECKING:
    from exacto_plugin.core.tiers.columns import Preset

NONE = "none"
"""No preset: LiteLLM's own lottery by price, no tiers."""

PRESETS = (NONE, *(preset.value for preset in TierPreset))


@dataclass(frozen=True, slots=True)
class NamedPreset:
    """A preset and its name in tables."""

    name: str
    rule: Preset | None
    """None: requests are sent with ``mode: off``."""


def preset_named(text: str) -> NamedPreset:
    """Parse a preset: ``NAME`` or ``NAME,key=value,...`` with keys of ``tiers.NAME``.

    Raises:
        SettingsError: there is no such preset, or its rule has no such number.
    """
    name, *changes = text.split(",")
    if name not in PRESETS:
        raise SettingsError(f"preset: got {name!r}, expected one of {', '.join(PRESETS)}")
    if name == NONE:
        return NamedPreset(text, None)
    rule: dict[str, object] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise SettingsError(f"preset: got {change!r}, expected key=value")
        rule[key] = parse_yaml(value, f"preset: {key}")
    settings = load_settings({"tiers": {"preset": name, name: rule}}, "preset")
    return NamedPreset(text, settings.rule())
