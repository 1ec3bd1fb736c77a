"""Numbers, times and names of signals, formatted for people. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Outcome, Signal, Tier
from exacto_plugin.core.routing.counterfactual import LOST

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {
    Signal.TOOL_CALL_SUCCESS: "tool-call success",
    Signal.THROUGHPUT: "throughput",
    Signal.BENCHMARK: "benchmark score",
    Signal.VERIFIER: "success in replayed requests",
    Signal.PROPENSITY: "share of answers with tool calls",
    Signal.TOKEN_BURN: "output tokens",
    Signal.REFUSED: "refused share",
    Signal.CAPACITY: "learned capacity",
    Signal.ANSWER_SUCCESS: "share of answers that are not broken",
}

TIER_WORDS = {
    Tier.VERIFIED_GOOD: "verified good",
    Tier.INSUFFICIENT_DATA: "not classified yet (insufficient data)",
    Tier.DERANKED: "deranked",
}

_UNITS_OF_VALUES = {
    Signal.THROUGHPUT: "tokens/s",
    Signal.TOKEN_BURN: "tokens",
    Signal.CAPACITY: "requests a minute",
}

_MOST_DIGITS = 4
"""Digits that are added at most to tell two values apart."""

_UNITS = {
    Signal.TOOL_CALL_SUCCESS: "calls",
    Signal.BENCHMARK: "questions",
    Signal.VERIFIER: "calls",
    Signal.PROPENSITY: "requests with tools",
}


def name_of(signal: str) -> str:
    """Return the display name of a signal."""
    return NAMES.get(Signal(signal), signal) if signal in {one.value for one in Signal} else signal


def counted(signal: str, number: float) -> str:
    """Format a number of samples of a signal: ``212 calls``."""
    unit = _UNITS.get(Signal(signal), "answers")
    return f"{number:,.0f} {unit[:-1] if number == 1 and unit.endswith('s') and ' ' not in unit else unit}"


def about(number: float, noun: str) -> str:
    """Format an estimated number of things.

    >>> about(1.2, "bad call"), about(1998.4, "request")
    ('about 1 bad call', 'about 1,998 requests')
    """
    whole = f"{number:,.0f}"
    return f"about {whole} {noun}{'' if whole == '1' else 's'}"


def value(signal: str | None, number: float | None, more: int = 0) -> str:
    """Format a value of a signal with its unit; ``unknown`` for None.

    ``more`` is the number of further digits.
    """
    if number is None or math.isnan(number):
        return "unknown"
    if signal in _UNITS_OF_VALUES:
        return f"{number:.{3 + more}g} {_UNITS_OF_VALUES[Signal(signal)]}"
    return percent(number, more)


def values_apart(signal: str | None, one: float | None, other: float | None) -> tuple[str, str]:
    """Format two values with as many digits as tell them apart, if they differ.

    >>> values_apart(None, 0.98496, 0.98503), values_apart(None, 0.0201, 0.05)
    (('98.496 %', '98.503 %'), ('2.01 %', '5.00 %'))
    """
    words = [(value(signal, one, more), value(signal, other, more)) for more in range(_MOST_DIGITS + 1)]
    return next((pair for pair in words if pair[0] != pair[1]), words[0])


def percent(share: float, more: int = 0) -> str:
    """Format a share as a percentage.

    It has as many decimals as distinguish it from 0 and 100, and ``more``.
    """
    near = min(abs(share), abs(1 - share))
    digits = more + (2 if 0 < near < 0.1 else 1)
    return f"{100 * share:.{digits}f} %"


_LEAST_SHARE = 0.001
"""Shares of the traffic below are told as under it: they are single requests."""


def traffic_share(share: float) -> str:
    """Format a share of the traffic.

    >>> traffic_share(0.0), traffic_share(0.00012), traffic_share(0.197)
    ('0 %', 'under 0.1 %', '19.7 %')
    """
    if share < _LEAST_SHARE:
        return "0 %" if share <= 0.0 else f"under {100 * _LEAST_SHARE:.1f} %"
    return f"{100 * share:.1f} %"


def suspicion(reason: Mapping[str, Any]) -> str:
    """Format the reason ``probably_bad``: its chance, and its share of the traffic."""
    chance, share = reason.get("chance"), reason.get("traffic_share")
    if chance is None or share is None:
        return "probably bad"
    return f"probably bad: {percent(chance)} chance of being within the threshold, {percent(share)} of the traffic"


_LEAST_USD = 1e-6
"""Amounts below are written with an exponent."""

_NO_USD = 1e-12
"""Amounts below are differences of equal ones: noise of binary fractions."""


def money(amount: float) -> str:
    """Format USD with as many digits as are significant."""
    if abs(amount) < _NO_USD or not math.isfinite(amount):
        return "$0"
    sign, size = "-" if amount < 0 else "", abs(amount)
    if size >= 1:
        return f"{sign}${size:,.2f}"
    digits = 1 - math.floor(math.log10(size))
    return f"{sign}${size:.{digits}f}" if size >= _LEAST_USD else f"{sign}${size:.2g}"


def duration(seconds: float) -> str:
    """Format a duration in its two largest units: ``2 h 10 min``."""
    left = max(0, round(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        many, left = divmod(left, size)
        if many:
            parts.append(f"{many} {unit}")
        if parts and (len(parts) == 2 or not many):
            break
    return " ".join(parts) or "0 s"


def window(seconds: float) -> str:
    """Format a window as a phrase: ``the last 15 min``."""
    return f"the last {duration(seconds)}"


def moment(at: float, zone: tzinfo | None = None) -> str:
    """Format a time in the user's zone, or in the given one."""
    return datetime.fromtimestamp(at, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z").strip()


def minute(at: float) -> str:
    """Format a time to the minute, in UTC.

    >>> minute(1_800_000_000.0)
    '2027-01-15 08:00 UTC'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def minutes(begin: float, end: float) -> str:
    """Format a range of time to the minute, in UTC; the date once where it is one day.

    >>> minutes(1_800_000_000.0, 1_800_000_420.0)
    '2027-01-15 08:00 to 08:07 UTC'
    """
    first, last = minute(begin).removesuffix(" UTC"), minute(end)
    return f"{first} to {last.removeprefix(first[:11]) if last.startswith(first[:11]) else last}"


def moment_of(text: str, now: float) -> float:
    """Parse a time: ``2026-11-17 15:00``, with an offset, or ``15:00`` for today.

    Without an offset it is in the user's own zone.

    Returns:
        UTC seconds.

    Raises:
        ValueError: it is no time.
    """
    text = text.strip()
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        today = datetime.fromtimestamp(now, UTC).astimezone().strftime("%Y-%m-%d")
        try:
            return datetime.fromisoformat(f"{today} {text}").timestamp()
        except ValueError:
            raise ValueError(f"not a time: {text!r}; write it like 2026-11-17 15:00, or 15:00 for today") from None


def observed_words(numbers: Mapping[str, Any] | None) -> str:
    """Format the observed signals: ``tokens +40%!, queue 1.2 s, spread 0.30``.

    No routing depends on them.
    """
    if not numbers:
        return "-"
    burn, queue = numbers["token_burn"], numbers["queue_time"]["value"]
    spread = numbers["throughput_spread"]["value"]
    words = [
        # Plus zero, so that "-0%" is not shown.
        None
        if burn["value"] is None
        else f"tokens {round(burn['value'], 2) + 0.0:+.0%}{'!' if burn['flagged'] else ''}",
        None if queue is None else f"queue {queue:.1f} s",
        None if spread is None else f"spread {spread:.2f}",
    ]
    return ", ".join(word for word in words if word is not None) or "-"


KIND_NAMES: Mapping[str, str] = {
    Outcome.INVALID_JSON: "arguments that are not JSON",
    Outcome.UNKNOWN_NAME: "unknown tool names",
    Outcome.SCHEMA_MISMATCH: "arguments against the schema",
    LOST: "lost tool calls",
}
"""The kinds of bad answers in words."""


_RUN_CHARACTERS = 12


def run_name(run: str) -> str:
    """Return the first characters of a benchmark run's id, which tell it apart.

    >>> run_name("3f9a" * 16)
    '3f9a3f9a3f9a'
    """
    return run[:_RUN_CHARACTERS]


FLAW_WORDS = {
    "invalid_json": "arguments that are not JSON",
    "unknown_name": "a tool that was not offered",
    "schema_mismatch": "arguments that do not match the schema",
    "missing_call": "a call that was announced and is missing",
    "leaked_markup": "a call in the text",
    "ignored_choice": "tool_choice not followed",
    "duplicate_id": "two calls with one id",
    "empty": "neither text nor a call",
    "reasoning_only": "reasoning only",
    "corrupt": "undecoded or damaged text",
    "provider_error": "an error in the place of an answer",
    "no_usage": "no usage",
}
"""The provider's flaws, in words."""


def flaw_counts(flaws: Mapping[str, int] | None) -> list[tuple[str, int]]:
    """Return the counts of the provider's flaws, the commonest first."""
    counts = [(flaw, count) for flaw, count in (flaws or {}).items() if count and flaw in FLAW_WORDS]
    return sorted(counts, key=lambda one: (-one[1], one[0]))


def flaw_words(flaws: Mapping[str, int] | None) -> str:
    """Format the provider's flaws briefly: ``28 schema_mismatch, 2 missing_call``."""
    return ", ".join(f"{count:,} {flaw}" for flaw, count in flaw_counts(flaws))
