"""Settings of alerts."""

from __future__ import annotations

from exacto_plugin.config.blocks import Name, SettingsBlock


class AlertSettings(SettingsBlock):
    """Settings of alerts through LiteLLM's own channels.

    Those are LiteLLM's ``general_settings.alerting``.
    """

    enabled: bool = True
    """Send alerts on the channels that LiteLLM has; without any nothing is sent.
    On by default: an operator who configured a channel wants to know."""
    email: Name | None = None
    """Receiver of alerts by mail, where LiteLLM's ``alerting`` has ``email``.
    null: no mail. LiteLLM sends its own mails to users, and has no address of an operator."""
