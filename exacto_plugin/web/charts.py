"""Charts as plain data: a finding in words, lines, a band and marks.

With the same numbers as a table. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import KIND_NAMES
from exacto_plugin.audit.series import OWN_THRESHOLDS
from exacto_plugin.core.model import Signal
from exacto_plugin.core.routing.counterfactual import BAD_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Plain = dict[str, Any]
Values = list[float | None]

STYLES = 8
"""Colours of lines; each further line of the same colour has other dashes."""

_END_S = 1.0
"""Seconds from the end of a step to the next one."""

_DASHES = ("", "8 4", "2 3", "12 3 2 3")
_TWO_THRESHOLDS = ("deranked above", "verified below")
_BOTH_THRESHOLDS = (
    "Two thresholds, each with its margin of error: a deployment is deranked when it is surely above the first, which "
    "is the lower one where bad calls cost more than the other deployments' prices, and verified or readmitted when it "
    "is surely below the second; a derank takes precedence."
)
_CALLS, _SPEED = Signal.TOOL_CALL_SUCCESS.value, Signal.THROUGHPUT.value


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

    @property
    def is_empty(self) -> bool:
        """True if no line has a value."""
        return all(value is None for line in self.lines for value in line.values)

    def plain(self) -> Plain:
        """Return what the script draws."""
        times, places = list(self.times), list(range(len(self.times)))
        if self.step_s:
            # A step has two ends, so that one before a gap is drawn too.
            times = [end for at in times for end in (at, at + self.step_s - _END_S)]
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
            ],
            "marks": [list(mark) for mark in self.marks],
            "clicked": self.clicked,
        }

    def rows(self) -> list[tuple[float, list[float | None]]]:
        """Return the rows of the table: time and a value of each line.

        Rows without any value are left out.
        """
        columns = [line.values for line in self.lines]
        rows = [(at, [column[place] for column in columns]) for place, at in enumerate(self.times)]
        return [row for row in rows if any(value is not None for value in row[1])]


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


def _bad(values: Sequence[float | None]) -> Values:
    return [None if value is None else round(1.0 - value, 9) for value in values]


def reference_lines(series: Mapping[str, Any], signal: str, names: Sequence[str]) -> list[Line]:
    """Return median, MAD band and thresholds of a signal.

    Those of tool calls are shares of bad ones.
    Where deployments have thresholds of their own, those of the deployments named are shown: at each time the lower
    median, which is one of theirs.
    """
    known: Mapping[str, Values] = series["references"].get(signal, {})
    if not known:
        return []
    median, mad, threshold = (known.get(name, [None] * len(series["times"])) for name in ("median", "mad", "threshold"))
    if signal == _CALLS:
        median, threshold = _bad(median), _bad(threshold)
    low, high = (
        [
            None if one is None or spread is None else max(0.0, one + sign * spread)
            for one, spread in zip(median, mad, strict=True)
        ]
        for sign in (-1, 1)
    )
    own = _own_thresholds(series, names) if signal == _CALLS else []
    lines = [
        Line("median - MAD", low, "band"),
        Line("median + MAD", high, "band"),
        Line("median", list(median), "median", "1 4"),
        *(own or [Line("threshold", list(threshold), "threshold", "6 6")]),
    ]
    return [one for one in lines if any(value is not None for value in one.values)]


def _own_thresholds(series: Mapping[str, Any], names: Sequence[str]) -> list[Line]:
    """Return the thresholds that deployments have of their own; empty where none has."""
    lines = []
    for name, words, dash in zip(OWN_THRESHOLDS, _TWO_THRESHOLDS, ("6 6", "14 4"), strict=True):
        each = [series["deployments"][one]["thresholds"][name] for one in names]
        values: Values = [median_low(found) if (found := _numbers(at)) else None for at in zip(*each, strict=True)]
        if _numbers(values):
            lines.append(Line(words, values, "threshold", dash))
    return lines


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def signal_chart(
    series: Mapping[str, Any],
    signal: str,
    names: Sequence[str],
    title: str,
    finding: str,
    clicked: str = "",
    marked: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Return the chart of a signal of some deployments, against the group's reference.

    ``marked`` are times with words, beside those of the changes of tier.
    """
    everyone = list(series["deployments"])
    lines: list[Line] = []
    for name in names:
        of = series["deployments"][name]
        values = of["signals"].get(signal, {}).get("value", [None] * len(series["times"]))
        strong = next((tier for tier in reversed(of["tier"]) if tier is not None), None) == "deranked"
        number = everyone.index(name)
        lines.append(line_of(name, _bad(values) if signal == _CALLS else list(values), number, strong=strong))
    marks = [
        (one["at"], change_words(one))
        for one in series["changes"]
        if one["deployment"] in names and one["at"] > series["since"]
    ]
    marks = sorted([*marks, *marked])
    unit = {_CALLS: "percent", _SPEED: "tokens/s"}.get(signal, "percent")
    lines = [*reference_lines(series, signal, names), *lines]
    if len([line for line in lines if line.name in _TWO_THRESHOLDS]) == len(_TWO_THRESHOLDS):
        finding = f"{finding} {_BOTH_THRESHOLDS}"
    return Chart(title, finding, unit, series["times"], lines, marks, clicked=clicked)


def change_words(change: Mapping[str, Any]) -> str:
    """Return a transition or an override in few words."""
    if change["kind"] == "override":
        word = "override reset" if change["word"] == "reset" else f"override to {change['word']}"
        return f"{change['deployment']}: {word}"
    return f"{change['deployment']}: {tier_words(change['previous'])} to {tier_words(change['tier'])}"


def tier_words(tier: str) -> str:
    """Return a tier as people read it."""
    return tier.replace("_", " ")


def share_line(hours: Mapping[str, Any], names: Sequence[str], column: str) -> list[Values]:
    """Return the share of each deployment in the sum of a count, at each step."""
    lines = [hours["deployments"].get(name, {}).get(column, [0.0] * len(hours["times"])) for name in names]
    totals = [
        sum(hours["deployments"][name][column][place] for name in hours["deployments"]) for place in _places(hours)
    ]
    return [[line[place] / totals[place] if totals[place] else None for place in _places(hours)] for line in lines]


def _places(hours: Mapping[str, Any]) -> range:
    return range(len(hours["times"]))


def traffic_chart(series: Mapping[str, Any], finding: str) -> Chart:
    """Return the chart of each deployment's share of the answers, by the hour."""
    hours, everyone = series["hours"], list(series["deployments"])
    names = [name for name in everyone if name in hours["deployments"]]
    values = share_line(hours, names, "answers")
    lines = [line_of(name, each, everyone.index(name)) for name, each in zip(names, values, strict=True)]
    return Chart("Share of traffic", finding, "percent", hours["times"], lines, step_s=hours["step_s"])


def kinds_chart(hours: Mapping[str, Any], names: Sequence[str], finding: str) -> Chart:
    """Return the chart of the share of bad answers by kind, by the hour."""
    counts = [hours["deployments"][name] for name in names if name in hours["deployments"]]
    answers = [sum(one["answers"][place] for one in counts) for place in _places(hours)]
    lines = []
    for number, kind in enumerate(BAD_KINDS):
        sums = [sum(one[kind][place] for one in counts) for place in _places(hours)]
        if any(sums):
            shares: Values = [part / all_ if all_ else None for part, all_ in zip(sums, answers, strict=True)]
            lines.append(line_of(KIND_NAMES.get(kind, kind), shares, number))
    return Chart("Kinds of bad answers", finding, "percent", hours["times"], lines, step_s=hours["step_s"])
