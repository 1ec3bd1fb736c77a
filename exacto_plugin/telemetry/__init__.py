"""OpenTelemetry instruments: names, units, buckets, the closed set of attributes.

Uses the API only and never sets a global provider; with no provider every instrument is a no-op. Attributes hold model
groups, deployments and providers that the operator configured, never a tool name, a key or a user.
"""

from __future__ import annotations

from exacto_plugin.telemetry.instruments import Telemetry

__all__ = ["Telemetry"]
