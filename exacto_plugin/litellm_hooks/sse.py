"""Server-sent events in bytes: splitting a stream, and reading events' data."""

from __future__ import annotations


def split_events(data: bytes) -> tuple[list[bytes], bytes]:
    """Return whole events, each with its final blank line, and the incomplete rest."""
    blank = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
    *events, rest = data.split(blank)
    return [event + blank for event in events], rest


def event_data(event: bytes) -> bytes | None:
    """Return the data of an event, which LiteLLM writes in one line; None without any."""
    for line in event.splitlines():
        if line.startswith(b"data:"):
            return line[5:].strip()
    return None
