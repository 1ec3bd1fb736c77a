"""Delivery of alerts through LiteLLM's own channels.

Slack, MS Teams, webhook and mail.
"""

from __future__ import annotations

import asyncio
import html
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from exacto_plugin.litellm_hooks.faults import fail_open
from exacto_plugin.litellm_hooks.monitoring.alert_text import OF_DEPLOYMENTS

if TYPE_CHECKING:
    from types import ModuleType

    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.monitoring.alert_text import Alert

_ROUTED_AS: Final = "outage_alerts"
"""LiteLLM's type of alert whose switch (``alert_types``) and channel (``alert_to_webhook_url``) ours have."""


_LIMIT_S = 10.0
"""Seconds for one attempt to reach a receiver."""
_PAUSES_S = (1.0, 10.0)
"""Seconds before the second and the third attempt to reach a webhook."""


class AlertTypeName(str):
    """LiteLLM's type of an alert, shown under the name of ours."""

    name: str
    value: str

    def __new__(cls, shown: str) -> AlertTypeName:
        """Return the type of ``_ROUTED_AS`` with the name that is shown."""
        made = super().__new__(cls, _ROUTED_AS)
        made.name, made.value = shown, _ROUTED_AS
        return made


class WebhookAlert(BaseModel):
    """The body that ``WEBHOOK_URL`` gets.

    ``event`` and ``event_message`` are those of LiteLLM's own alerts.
    """

    event: str
    event_message: str
    event_group: str = "exacto"
    """Where LiteLLM's own have ``key``, ``team`` or ``proxy``."""
    model_group: str
    deployment: str
    level: str
    link: str


class AlertChannels:
    """LiteLLM's channels, as they are configured when an alert is sent.

    Args:
        context: of this process.
        server: LiteLLM's proxy module.
    """

    def __init__(self, context: Context, server: ModuleType) -> None:
        self._context = context
        self.faults = context.faults
        self._server = server

    @fail_open("alerts")
    async def send(self, alert: Alert) -> None:
        """Send an alert on every configured channel."""
        channels: Any = self._server.proxy_logging_obj.slack_alerting_instance
        configured = channels.alerting or ()
        if "slack" in configured or "ms_teams" in configured:
            await self._to_chat(channels, alert)
        if "webhook" in configured:
            await self._to_webhook(channels, alert)
        if "email" in configured and self._context.settings.alerts.email:
            await self._by_mail(self._context.settings.alerts.email, alert)

    @fail_open("alerts")
    async def _to_chat(self, channels: Any, alert: Alert) -> None:
        """Add an alert to LiteLLM's queue, which it sends every few seconds."""
        text = f"{alert.message} {alert.link}".rstrip()
        kind = AlertTypeName(f"exacto_{alert.kind}")
        # LiteLLM's digests join alerts of one model and address: only those of the same kind and deployment.
        same = {"request_model": alert.model_group, "api_base": f"{kind.name} {alert.name}"}
        await channels.send_alert(message=text, level=alert.level, alert_type=kind, alerting_metadata={}, **same)

    @fail_open("alerts")
    async def _to_webhook(self, channels: Any, alert: Alert) -> None:
        body = WebhookAlert(
            event=f"exacto_{alert.kind}",
            event_message=alert.message,
            model_group=alert.model_group,
            deployment=alert.name if alert.kind in OF_DEPLOYMENTS else "",
            level=alert.level,
            link=alert.link,
        )
        for pause_s in (*_PAUSES_S, None):
            try:
                async with asyncio.timeout(_LIMIT_S):
                    await channels.send_webhook_alert(webhook_event=body)
            except Exception:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
            else:
                return

    @fail_open("alerts")
    async def _by_mail(self, receiver: str, alert: Alert) -> None:
        from litellm.proxy.utils import send_email

        text = html.escape(f"{alert.message} {alert.link}".rstrip())
        await send_email(receiver_email=receiver, subject=f"LiteLLM: exacto_{alert.kind}", html=f"<p>{text}</p>")
