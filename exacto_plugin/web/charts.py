"""The charts of a model group's series."""

from __future__ import annotations

from dataclasses import replace
from statistics import median_low
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import KIND_NAMES, minute, minutes
from exacto_plugin.audit.hours.deranked_calls import calls_of, deranked_times, quiet_since, quiet_words
from exacto_plugin.audit.series import OWN_THRESHOLDS
from exacto_plugin.core.model import Signal, Tier
from exacto_plugin.core.routing.counterfactual import BAD_KINDS, HOUR_S
from exacto_plugin.web.chart import LEAST_ANSWERS, Chart, Line, line_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exacto_plugin.web.chart import Counts, Values

_TWO_THRESHOLDS = ("price limit: deranked above", "usual limit: verified below")
_BOTH_THRESHOLDS = (
    "Two thresholds, each with its margin of error: a deployment is deranked when it is surely above the first, which "
    "is the lower one where bad calls cost more than the other deployments' prices, and verified or readmitted when it "
    "is surely below the second; a derank takes precedence."
)
_ENDED_LINES = (
    "A line is the share over the rule's window of up to a day, so that it may jump only at the derank, and it ends "
    "where its deployment is deranked: from then on the rule keeps the number that deranked it. Points are "
    "its calls while deranked, by the hour, with their counts; a triangle is one beyond the axis."
)
_MEANWHILE = " while deranked"
_MANY = 3
"""Deployments that a sentence names; the rest is counted."""
_CALLS, _SPEED = Signal.TOOL_CALL_SUCCESS.value, Signal.THROUGHPUT.value


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
    lines, quiet = _signal_lines(series, signal, names)
    onsets = onset_marks(series, names) if signal == _CALLS else []
    marks = sorted({*_change_marks(series, names), *onsets, *marked, *quiet})
    unit = {_CALLS: "percent", _SPEED: "tokens/s"}.get(signal, "percent")
    lines = [*reference_lines(series, signal, names), *lines]
    if len([line for line in lines if line.name in _TWO_THRESHOLDS]) == len(_TWO_THRESHOLDS):
        finding = f"{finding} {_BOTH_THRESHOLDS}"
    ended = [name for name in names if signal == _CALLS and deranked_times(series, name)]
    finding = " ".join([finding, *_calls_words(ended, lines)])
    notes = (_ENDED_LINES,) if ended else ()
    causes = series["common_causes"]
    return Chart(title, finding, unit, series["times"], lines, marks, clicked=clicked, causes=causes, notes=notes)


def _change_marks(series: Mapping[str, Any], names: Iterable[str]) -> list[tuple[float, str]]:
    return [
        (one["at"], change_words(one))
        for one in series["changes"]
        if one["deployment"] in names and one["at"] > series["since"]
    ]


def onset_marks(series: Mapping[str, Any], names: Iterable[str]) -> list[tuple[float, str]]:
    """Return the onsets that are on record with deranks, with their words."""
    return [
        (one["changed"]["at"], f"{one['deployment']}: onset")
        for one in series["changes"]
        if one["deployment"] in names
        and one.get("tier") == Tier.DERANKED
        and "at" in (one.get("changed") or {})
        and one["changed"]["at"] > series["since"]
    ]


def history(series: Mapping[str, Any], names: Sequence[str]) -> list[tuple[float, str, Mapping[str, Any] | None]]:
    """Return changes of tier, overrides and onsets in order of time.

    Each with its words, and the change; None for an onset.
    """
    changes = [(one["at"], change_words(one), one) for one in series["changes"] if one["deployment"] in names]
    onsets = [(at, f"{words} (most likely time)", None) for at, words in onset_marks(series, names)]
    return sorted([*changes, *onsets], key=lambda one: one[0])


def _signal_lines(
    series: Mapping[str, Any], signal: str, names: Sequence[str]
) -> tuple[list[Line], list[tuple[float, str]]]:
    """Return lines and points of some deployments, and marks of their ends."""
    everyone = list(series["deployments"])
    lines: list[Line] = []
    marks: list[tuple[float, str]] = []
    for name in names:
        of = series["deployments"][name]
        values = of["signals"].get(signal, {}).get("value", [None] * len(series["times"]))
        strong = next((tier for tier in reversed(of["tier"]) if tier is not None), None) == "deranked"
        number = everyone.index(name)
        if signal == _CALLS:
            values, points, quiet = _while_deranked(series, name, values, number)
            line = line_of(name, _bad(values), number, strong=strong)
            lines += [line, *points] if _numbers(values) else points
            marks += quiet
        else:
            lines.append(line_of(name, list(values), number, strong=strong))
    return lines, marks


def _while_deranked(
    series: Mapping[str, Any], name: str, values: Sequence[float | None], number: int
) -> tuple[Values, list[Line], list[tuple[float, str]]]:
    """Return the measured values, and the points and marks that replace the others.

    While a deployment is deranked its value is the one that deranked it. Its calls meanwhile are points with counts,
    and a mark tells since when there are none.
    """
    kept, marks = list(values), []
    points: list[Counts | None] = [None] * len(values)
    for time in deranked_times(series, name):
        first = time.first if time.derank is None else time.first + 1
        kept[first : time.last + 1] = [None] * (time.last + 1 - first)
        calls = calls_of(series, name, time)
        for one in calls:
            bad, of = points[one.place] or (0, 0)
            points[one.place] = (bad + one.bad, of + one.calls)
        quiet = quiet_since(series, time, calls)
        if quiet is not None:
            marks.append((quiet, f"{name}: {quiet_words(series, time, calls)}"))
    if not any(points):
        return kept, [], marks
    shares: Values = [None if one is None else one[0] / one[1] for one in points]
    style = line_of(name, [], number).style
    return kept, [Line(f"{name}{_MEANWHILE}", shares, style, counts=points, is_points=True)], marks


def _calls_words(names: Sequence[str], lines: Sequence[Line]) -> Iterator[str]:
    """Yield a sentence on the calls that deployments got while they were deranked."""
    points = {line.name: [one for one in line.counts if one] for line in lines if line.is_points}
    told = []
    for name in names[:_MANY]:
        bad, of = (sum(column) for column in zip((0, 0), *points.get(f"{name}{_MEANWHILE}", ()), strict=True))
        told.append(f"{name} {f'{bad:,.0f} of {of:,.0f} calls bad' if of else 'no calls'}")
    if told:
        more = f", and {len(names) - _MANY} more" if len(names) > _MANY else ""
        yield f"While deranked, in this time: {', '.join(told)}{more}."


def causes_words(chart: Chart) -> str:
    """Return the times of a chart's common causes, each with its rise."""
    end = chart.times[-1] + chart.step_s
    told = (
        f"{minutes(one['begin'], min(one['end'] or end, end))}{'' if one['end'] else ' and on'} "
        f"(about {100 * one['value']:.2g} points at {one['peers']} deployments)"
        for one in chart.causes
    )
    return f"Common cause: {', '.join(told)}."


def change_words(change: Mapping[str, Any]) -> str:
    """Return a transition or an override in few words."""
    if change["kind"] == "override":
        word = "override reset" if change["word"] == "reset" else f"override to {change['word']}"
        return f"{change['deployment']}: {word}"
    return f"{change['deployment']}: {tier_words(change['previous'])} to {tier_words(change['tier'])}"


def tier_words(tier: str) -> str:
    """Return a tier as people read it."""
    return tier.replace("_", " ")


def _places(hours: Mapping[str, Any]) -> range:
    return range(len(hours["times"]))


def _share_line(name: str, counts: Sequence[Counts], number: int) -> Line:
    """Return the line of shares of counts.

    Without those of few answers.
    """
    shares: Values = [part / of if of >= LEAST_ANSWERS else None for part, of in counts]
    return replace(line_of(name, shares, number), counts=counts)


def _of_hours(
    series: Mapping[str, Any],
    title: str,
    finding: str,
    lines: Sequence[Line],
    totals: Sequence[float],
    names: Sequence[str],
) -> Chart:
    """Return a chart of shares of hourly counts, with notes on what is left out.

    Args:
        series: of the model group.
        title: of the chart.
        finding: in words.
        lines: shares of ``totals``.
        totals: answers of each step.
        names: deployments whose changes and onsets are marked.
    """
    hours, notes = series["hours"], []
    step = "Hours" if hours["step_s"] == HOUR_S else f"Steps of {hours['step_s'] / HOUR_S:.0f} hours"
    few = [total for total in totals if 0 < total < LEAST_ANSWERS]
    if lines and few:
        left_out = f"{len(few)} of {len([total for total in totals if total])}"
        notes.append(
            f"{step} with fewer than {LEAST_ANSWERS} answers are not drawn ({left_out}); the numbers have them."
        )
    chart = Chart(title, finding, "percent", hours["times"], lines, step_s=hours["step_s"], until=hours["until"])
    if lines and totals[-1] >= LEAST_ANSWERS and chart.is_running(hours["times"][-1]):
        notes.append(f"The last {'hour' if step == 'Hours' else 'step'} is drawn up to {minute(hours['until'])[11:]}.")
    onsets = onset_marks(series, names)
    if lines and onsets:
        notes.append(f"The {'hour' if step == 'Hours' else 'step'} of an onset has calls from before it too.")
    marks = sorted({*onsets, *_change_marks(series, names)})
    return replace(chart, marks=marks, causes=series["common_causes"], notes=notes)


def traffic_chart(series: Mapping[str, Any], finding: str) -> Chart:
    """Return the chart of each deployment's share of the answers, by the hour."""
    hours, everyone = series["hours"], list(series["deployments"])
    answers = {name: counts["answers"] for name, counts in hours["deployments"].items()}
    totals = [sum(counts[place] for counts in answers.values()) for place in _places(hours)]
    lines = [
        _share_line(name, list(zip(answers[name], totals, strict=True)), everyone.index(name))
        for name in everyone
        if name in answers
    ]
    return _of_hours(series, "Share of traffic", finding, lines, totals, everyone)


def kinds_chart(series: Mapping[str, Any], names: Iterable[str], finding: str) -> Chart:
    """Return the chart of the share of bad answers by kind, by the hour."""
    hours, names = series["hours"], list(names)
    counts = [hours["deployments"][name] for name in names if name in hours["deployments"]]
    totals = [sum(one["answers"][place] for one in counts) for place in _places(hours)]
    lines = []
    for number, kind in enumerate(BAD_KINDS):
        sums = [sum(one[kind][place] for one in counts) for place in _places(hours)]
        if any(sums):
            lines.append(_share_line(KIND_NAMES.get(kind, kind), list(zip(sums, totals, strict=True)), number))
    return _of_hours(series, "Kinds of bad answers", finding, lines, totals, names)
