"""Arguments that several verbs take: times, durations and examples."""

from __future__ import annotations

import argparse
import re
import sys
import time
from typing import NoReturn

from exacto_plugin.audit.formatting import moment_of

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

TIMES = '"2026-11-17 15:00" in your zone, 15:00 for today, or 2h for two hours ago'
"""Help on the form of times."""


class WrappingParser(argparse.ArgumentParser):
    """A parser whose errors are as wide as the terminal."""

    def error(self, message: str) -> NoReturn:
        """Write usage and error, and exit with status 2."""
        from exacto_plugin.text_tables import write_message

        self.print_usage(sys.stderr)
        write_message(f"{self.prog}: error: {message}")
        raise SystemExit(2)


def add_examples(parser: argparse.ArgumentParser, *lines: str) -> None:
    """Show command lines to copy at the end of a verb's ``--help``."""
    parser.epilog = "\n".join(["examples:", *(f"  {line}".rstrip() for line in lines)])


def duration_s(text: str) -> float:
    """Parse a duration: ``90s``, ``30m``, ``2h``, ``1d`` or ``1h30m``, in seconds.

    Raises:
        argparse.ArgumentTypeError: it is no such thing, or zero.
    """
    seconds = _seconds_of(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration, expected something like 30m, 2h or 1d")
    return seconds


def _seconds_of(text: str) -> float:
    """Return the seconds of a duration; 0 for any other text."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def time_of(text: str) -> float:
    """Parse a time, or a duration before now, to UTC seconds.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    now = time.time()
    before = _seconds_of(text.strip())
    if before:
        return now - before
    try:
        return moment_of(text, now)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, or 2h for two hours ago") from None


def past_of(text: str) -> float:
    """Parse a past time on the command line to UTC seconds.

    Raises:
        argparse.ArgumentTypeError: it is none, or in the future.
    """
    at = time_of(text)
    if at > time.time():
        raise argparse.ArgumentTypeError(f"{text!r} is in the future")
    return at
