"""The demonstration's result: counts, a sentence, and a picture."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.model import Outcome

_ROW: Final = 34
_LEFT: Final = 180
_BAR: Final = 230
"""Pixels of the longest bar."""
_GOOD: Final = "#2e7d32"
_BAD: Final = "#c62828"


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
    >>> conclusion(*told)
    '18 of 120 calls were broken before (15.00 %), 1 of 100 after (1.00 %): 15 times fewer, at the same spend.'
    """
    shares = (
        f"{before.bad} of {before.total} calls were broken before ({100 * before.bad_share:.2f} %), {after.bad} of"
        f" {after.total} after ({100 * after.bad_share:.2f} %)"
    )
    if not before.spend_each:
        return f"{shares}{_fewer(before, after)}."
    change = after.spend_each / before.spend_each - 1.0
    spend = (
        "at the same spend"
        if abs(change) < 0.005
        else f"for {abs(change):.0%} {'more' if change > 0 else 'less'} spend"
    )
    return f"{shares}{_fewer(before, after)}, {spend}{'' if 'same' in spend else ' a call'}."


def _fewer(before: DemoCounts, after: DemoCounts) -> str:
    if not after.bad or after.bad_share >= before.bad_share:
        return ""
    return f": {before.bad_share / after.bad_share:.0f} times fewer"


def picture(title: str, before: DemoCounts, after: DemoCounts, tiers: Mapping[str, str]) -> str:
    """Return an SVG: two bars a provider, green for good calls and red for bad ones.

    Args:
        title: the sentence above.
        before: without tiers.
        after: with them.
        tiers: provider -> tier, in the order of the rows.
    """
    width, height = _LEFT + 2 * _BAR + 90, 96 + _ROW * len(tiers)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, title, size=13, bold=True),
        _text(_LEFT, 52, f"before: {before.bad} bad of {before.total}"),
        _text(_LEFT + _BAR + 50, 52, f"after: {after.bad} bad of {after.total}"),
    ]
    phases = ((before, _LEFT), (after, _LEFT + _BAR + 50))
    for row, (provider, tier) in enumerate(tiers.items()):
        top = 64 + _ROW * row
        parts += [_text(16, top + 14, provider), _text(16, top + 27, tier, size=10, color="#616161")]
        for counts, left in phases:
            parts += _bar(counts, provider, left, top)
    parts.append(_text(16, height - 12, "green: calls that work, red: calls that do not", size=10, color="#616161"))
    return "\n".join([*parts, "</svg>", ""])


def _bar(counts: DemoCounts, provider: str, left: int, top: int) -> Sequence[str]:
    most = max(counts.providers.values(), default=1)
    number, bad = counts.providers[provider], counts.bad_of[provider]
    good = _BAR * (number - bad) / most
    broken = _BAR * bad / most
    label = f"{number}" if not bad else f"{number}, {bad} bad"
    return [
        f'<rect x="{left}" y="{top + 4}" width="{good:.1f}" height="16" fill="{_GOOD}"/>',
        f'<rect x="{left + good:.1f}" y="{top + 4}" width="{broken:.1f}" height="16" fill="{_BAD}"/>',
        _text(left + good + broken + 4, top + 16, label, size=10),
    ]


def _text(x: float, y: float, text: str, *, size: int = 12, bold: bool = False, color: str = "#212121") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight} fill="{color}">{escape(text)}</text>'
