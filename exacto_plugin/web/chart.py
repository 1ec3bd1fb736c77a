"""A chart as plain data: a finding in words, lines, points, bands and marks.

With the same numbers as a table. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.core.model import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Plain = dict[str, Any]
Values = list[float | None]
Counts = tuple[float, float]
"""A part, and the whole that it is a part of."""

LEAST_ANSWERS = 20
"""Answers of an hour from which their shares are drawn: with fewer, one bad answer alone draws more than 5 %, which is
above the usual thresholds of bad calls (reasoned)."""

STYLES = 8
"""Colours of lines; each further line of the same colour has other dashes."""

_END_S = 1.0
"""Seconds from the end of a step to the next one."""

_TIERS = frozenset(tier.value.replace("_", " ") for tier in Tier)

_DASHES = ("", "8 4", "2 3", "12 3 2 3")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    values: Values
    style: str
    """``s0`` to ``s7``, or ``median``, ``threshold``, ``band``."""
    dash: str = ""
    """Lengths of strokes and gaps in pixels."""
    strong: bool = False
    counts: Sequence[Counts | None] = ()
    """The counts whose shares the values are; empty where they are no shares of counts."""
    is_points: bool = False
    """True for single points with their counts, which no line joins."""


class Cell(NamedTuple):
    """A number of a chart's table."""

    value: float | None
    counts: Counts | None


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its finding, which is also its text for screen readers."""

    title: str
    finding: str
    unit: str
    """``percent``, ``tokens/s`` or ``answers``."""
    times: Sequence[float]
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]] = ()
    """Times of changes, each with its words."""
    step_s: float = 0.0
    """Length of the steps whose beginnings ``times`` are; 0 where values belong to the times themselves."""
    clicked: str = ""
    """The action of a click; empty for none."""
    causes: Sequence[Mapping[str, Any]] = ()
    """Common causes, drawn as bands; see ``audit.incidents.common_causes``."""
    until: float = 0.0
    """UTC seconds to which the last step counts; 0 where all steps are over."""
    notes: Sequence[str] = ()
    """Sentences on what is drawn, and what is left out."""

    @property
    def is_empty(self) -> bool:
        """True if no line has a value."""
        return all(value is None for line in self.lines for value in line.values)

    def plain(self) -> Plain:
        """Return what the script draws."""
        times, places = list(self.times), list(range(len(self.times)))
        if self.step_s:
            # A step has two ends, so that one before a gap is drawn too.
            ends = [at + self.step_s - _END_S for at in times]
            ends[-1] = max(times[-1], min(ends[-1], self.until or ends[-1]))
            times = [end for both in zip(times, ends, strict=True) for end in both]
            places = [place for place in places for _ in range(2)]
        return {
            "unit": self.unit,
            "times": times,
            "lines": [
                {
                    "name": one.name,
                    "values": _short([one.values[place] for place in places]),
                    "style": one.style,
                    "dash": one.dash,
                    "strong": one.strong,
                }
                for one in self.lines
                if not one.is_points
            ],
            "points": [
                [self.times[place], one.values[place], one.style, *counts]
                for one in self.lines
                if one.is_points
                for place, counts in enumerate(one.counts)
                if counts
            ],
            "top": self._top(),
            "marks": [[at, _label(words)] for at, words in self.marks],
            "causes": [[one["begin"], one["end"]] for one in self.causes],
            "clicked": self.clicked,
        }

    def _top(self) -> float:
        """Return a value that the axis must reach for the points.

        That of points with few calls only where nothing else is drawn: one of one is 100 %.
        """
        points = [each for one in self.lines if one.is_points for each in zip(one.values, one.counts, strict=True)]
        drawn = any(value is not None for one in self.lines if not one.is_points for value in one.values)
        least = LEAST_ANSWERS if drawn else 0
        return max(
            (value for value, counts in points if value is not None and counts and counts[1] >= least), default=0
        )

    def is_running(self, at: float) -> bool:
        """Return whether the step that begins at a time is not over."""
        return bool(self.until) and at + self.step_s > self.until

    def rows(self) -> list[tuple[float, list[Cell]]]:
        """Return the rows of the table: time and a cell of each line.

        Rows without any value or count are left out.
        """
        rows = [(at, [_cell(line, place) for line in self.lines]) for place, at in enumerate(self.times)]
        return [row for row in rows if any(cell.value is not None or cell.counts for cell in row[1])]


def _label(words: str) -> str:
    """Return the words on a change that stand at its line.

    >>> _label("d: verified good to deranked"), _label("d: onset")
    ('deranked', 'onset')
    """
    what = words.rpartition(": ")[2]
    before, _, after = what.rpartition(" to ")
    return after if before in _TIERS or before == "override" else what


def _cell(line: Line, place: int) -> Cell:
    counts = line.counts[place] if line.counts else None
    return Cell(line.values[place], counts if counts and counts[1] else None)


def _short(values: Values) -> Values:
    return [None if value is None else float(f"{value:.5g}") for value in values]


def dash_of(number: int) -> str:
    """Return the dashes of a line by its number."""
    return _DASHES[(number + number // STYLES) % len(_DASHES)]


def line_of(name: str, values: Values, number: int, *, strong: bool = False) -> Line:
    """Return the line of one of several equals.

    Neighbours differ in colour and in dashes.
    """
    return Line(name, values, f"s{number % STYLES}", dash_of(number), strong)
