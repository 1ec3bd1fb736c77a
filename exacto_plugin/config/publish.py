"""Settings of what may be published."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from exacto_plugin.config.blocks import Days, Name, SettingsBlock


class PublishSettings(SettingsBlock):
    """Settings of ``exacto publish``; nothing is published by itself."""

    models: Mapping[Name, Name] = Field(default_factory=dict)
    """Model group -> its public name; others are not published.
    Empty by default: nothing is published."""
    providers: Mapping[Name, Name] = Field(default_factory=dict)
    """Provider -> its public name; others are not published.
    A provider may be named after a host that is nobody's business."""
    delay_days: Days = 14.0
    """Days after the end of a week from which its numbers may be published.
    14: providers can mend what ``exacto bundle`` shows them before."""
