"""Server-sent events in bytes: where one ends and the next begins, and what data an event carries. Decides nothing."""

from __future__ import annotations


def split_events(data: bytes) -> tuple[list[bytes], bytes]:
    """Whole events, each with the blank line that ends it, and the beginning of the next."""
    blank = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
    *events, rest = data.split(blank)
    return [event + blank for event in events], rest


def event_data(event: bytes) -> bytes | None:
    """The data of an event, which LiteLLM writes in one line; None without any."""
    for line in event.splitlines():
        if line.startswith(b"data:"):
            return line[5:].strip()
    return None
