"""The demonstration's result: counts, a sentence, and a picture."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

import numpy as np

from exacto_plugin.core.stats.binomial import wilson_lower, wilson_upper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import Outcome

_ROW: Final = 24
_Z: Final = 1.96
"""Standard deviations of an interval of 95 %."""
_TIER: Final = 150
_LEFT: Final = 270
_BAR: Final = 170
"""Pixels of the longest bar."""
_PANEL: Final = _BAR + 90
"""Pixels of a phase: its bars, and the label of the longest one."""
_WIDTH: Final = _LEFT + 2 * _PANEL
_TITLE_COLUMNS: Final = 96
"""Characters of a line of the title, which _WIDTH holds."""
_GOOD: Final = "#4477aa"
_BAD: Final = "#cc3311"
"""Two colours that people who do not tell red from green see apart."""


@dataclass
class DemoCounts:
    """The answers that the client got in one phase."""

    outcomes: Counter[str] = field(default_factory=Counter)
    providers: Counter[str] = field(default_factory=Counter)
    bad_of: Counter[str] = field(default_factory=Counter)
    """Answers with a bad tool call, by provider."""
    failed: int = 0
    spend_usd: float = 0.0

    def add(self, provider: str, outcome: Outcome, spend_usd: float) -> None:
        """Count one answer."""
        self.outcomes[outcome.value] += 1
        self.providers[provider] += 1
        self.bad_of[provider] += outcome.is_bad
        self.spend_usd += spend_usd

    @property
    def bad(self) -> int:
        """Delivered answers with a bad tool call."""
        return sum(self.bad_of.values())

    @property
    def total(self) -> int:
        """Delivered answers."""
        return sum(self.outcomes.values())

    @property
    def bad_share(self) -> float:
        """Share of the delivered answers with a bad tool call."""
        return self.bad / max(1, self.total)

    @property
    def spend_each(self) -> float:
        """USD for one answer."""
        return self.spend_usd / max(1, self.total)


def conclusion(before: DemoCounts, after: DemoCounts) -> str:
    """Return the result of the demonstration as one sentence.

    >>> from exacto_plugin.core.model import Outcome
    >>> told = DemoCounts(), DemoCounts()
    >>> for counts, number, bad in zip(told, (120, 100), (18, 1), strict=True):
    ...     for at in range(number):
    ...         counts.add("a", Outcome.INVALID_JSON if at < bad else Outcome.VALID, 0.001)
    >>> conclusion(*told).partition(", 1 of ")[2]
    '100 after (1.00 %, 95 % interval 0.18 to 5.45 %), at the same spend.'
    """
    shares = (
        f"{before.bad} of {before.total} calls were broken before ({100 * before.bad_share:.2f} %), {after.bad} of"
        f" {after.total} after ({100 * after.bad_share:.2f} %{_interval(after)})"
    )
    if not before.spend_each:
        return f"{shares}."
    change = after.spend_each / before.spend_each - 1.0
    spend = (
        "at the same spend"
        if abs(change) < 0.005
        else f"for {abs(change):.0%} {'more' if change > 0 else 'less'} spend"
    )
    return f"{shares}, {spend}{'' if 'same' in spend else ' a call'}."


def _interval(counts: DemoCounts) -> str:
    """Return Wilson's interval of the bad share; nothing without answers."""
    if not counts.total:
        return ""
    bad, total = np.array(float(counts.bad)), np.array(float(counts.total))
    low, high = max(0.0, float(wilson_lower(bad, total, _Z))), float(wilson_upper(bad, total, _Z))
    return f", 95 % interval {100 * low:.2f} to {100 * high:.2f} %"


def picture(title: str, source: str, before: DemoCounts, after: DemoCounts, tiers: Mapping[str, str]) -> str:
    """Return an SVG: two bars a provider, each with its good and its bad calls.

    Args:
        title: the sentence above.
        source: where the numbers come from.
        before: without tiers.
        after: with them.
        tiers: provider -> tier, in the order of the rows.
    """
    headings = textwrap.wrap(title, _TITLE_COLUMNS)
    top = 24 + 18 * len(headings)
    height = top + 20 + _ROW * len(tiers) + 44
    phases = ((before, "before", _LEFT), (after, "after", _LEFT + _PANEL))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        ' font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *(_text(16, 24 + 18 * row, line, size=13, bold=True) for row, line in enumerate(headings)),
        *(_text(left, top + 10, f"{name}: {one.bad} bad of {one.total}") for one, name, left in phases),
    ]
    for row, (provider, tier) in enumerate(tiers.items()):
        at = top + 20 + _ROW * row
        parts += [_text(16, at + 12, provider), _text(_TIER, at + 12, tier, size=10, color="#616161")]
        for counts, _, left in phases:
            parts += _bar(counts, provider, left, at)
    return "\n".join([*parts, *_legend(height - 30, source), "</svg>", ""])


def _legend(top: int, source: str) -> Sequence[str]:
    squares = ((_GOOD, "calls that work", _LEFT), (_BAD, "calls that do not", _LEFT + 120))
    return [
        *(f'<rect x="{left}" y="{top}" width="10" height="10" fill="{color}"/>' for color, _, left in squares),
        *(_text(left + 15, top + 9, words, size=10) for _, words, left in squares),
        _text(16, top + 24, source, size=10, color="#616161"),
    ]


def _bar(counts: DemoCounts, provider: str, left: int, top: int) -> Sequence[str]:
    most = max(counts.providers.values(), default=1)
    number, bad = counts.providers[provider], counts.bad_of[provider]
    good = _BAR * (number - bad) / most
    broken = _BAR * bad / most
    label = f"{number}" if not bad else f"{number}, {bad} bad"
    return [
        f'<rect x="{left}" y="{top}" width="{good:.1f}" height="16" fill="{_GOOD}"/>',
        f'<rect x="{left + good:.1f}" y="{top}" width="{broken:.1f}" height="16" fill="{_BAD}"/>',
        _text(left + good + broken + 4, top + 12, label, size=10),
    ]


def _text(x: float, y: float, text: str, *, size: int = 12, bold: bool = False, color: str = "#212121") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight} fill="{color}">{escape(text)}</text>'
