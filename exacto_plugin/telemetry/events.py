"""Events of OpenTelemetry, through the API of logs.

Without a provider nothing happens.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry import _logs

if TYPE_CHECKING:
    from collections.abc import Mapping

SCOPE = "exacto_plugin"


def emit_event(name: str, body: str, attributes: Mapping[str, str]) -> None:
    """Emit an event.

    Args:
        name: of the kind of event, for instance ``exacto.alert``.
        body: one sentence for people.
        attributes: of low cardinality.
    """
    at_ns = time.time_ns()
    try:
        record = _logs.LogRecord(timestamp=at_ns, event_name=name, body=body, attributes=dict(attributes))
    except TypeError:  # an API before 1.35: events have a class of their own
        _emit_event_of_old_api(name, body, attributes, at_ns)
        return
    _logs.get_logger(SCOPE).emit(record)


def _emit_event_of_old_api(name: str, body: str, attributes: Mapping[str, str], at_ns: int) -> None:
    from opentelemetry import _events  # type: ignore[attr-defined,unused-ignore]

    event = _events.Event(name, timestamp=at_ns, body=body, attributes=dict(attributes))
    provider = _events.get_event_logger_provider()
    if type(provider).__module__.startswith("opentelemetry._events"):
        # Nobody set a provider of events; LiteLLM sets one of log records only, as events are since 1.35.
        with suppress(ImportError):
            from opentelemetry.sdk._events import (  # type: ignore[import-not-found,unused-ignore]
                EventLoggerProvider,
            )

            provider = EventLoggerProvider(_logs.get_logger_provider())
    provider.get_event_logger(SCOPE).emit(event)
