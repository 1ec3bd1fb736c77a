"""Charts and their findings: thresholds in the direction of the chart, and words that agree with the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.audit.incidents.findings import missing_words, rates_finding
from exacto_plugin.core.routing.counterfactual import BAD_KINDS
from exacto_plugin.web.chart import Chart, dash_of, line_of
from exacto_plugin.web.charts import causes_words, history, kinds_chart, reference_lines, signal_chart, traffic_chart

CALLS = "tool_call_success"


def series(*, own: bool) -> dict[str, Any]:
    """Two steps of a group whose deployment ``b`` fails 10 % of its calls; ``own``: with thresholds of its own."""
    limits = {"a": (0.05, 0.02), "b": (0.06, 0.03), "c": (0.07, 0.04)}
    return {
        "since": 0.0,
        "until": 120.0,
        "times": [60.0, 120.0],
        "changes": [
            {"at": 90.0, "kind": "transition", "deployment": "b", "previous": "verified_good", "tier": "deranked"}
        ],
        "hours": {"step_s": 3600.0, "times": [0.0], "until": 120.0, "deployments": {}},
        "common_causes": [],
        "references": {CALLS: {"median": [None, 0.99], "mad": [None, 0.005], "threshold": [None, 0.96]}},
        "deployments": {
            name: {
                "tier": ["verified_good", "deranked" if name == "b" else "verified_good"],
                "thresholds": {
                    key: [None, limits[name][place] if own else None]
                    for place, key in enumerate(("convicts_above", "acquits_below"))
                },
                "signals": {CALLS: {"value": [None, 0.9 if name == "b" else 0.99], "samples": [0, 100]}},
            }
            for name in limits
        },
    }


def drawn(found: dict[str, Any], *names: str) -> dict[str, Any]:
    """The last value of each line of the references."""
    return {line.name: line.values[-1] for line in reference_lines(found, CALLS, names)}


def test_one_threshold_is_drawn_as_a_share_of_bad_calls() -> None:
    """As are median and band."""
    assert drawn(series(own=False), "a", "b") == {
        "median - MAD": pytest.approx(0.005),
        "median + MAD": pytest.approx(0.015),
        "median": pytest.approx(0.01),
        "threshold": pytest.approx(0.04),
    }


def test_two_thresholds_are_drawn_as_they_are() -> None:
    """They are shares of bad calls already; those of one deployment, and the lower median of several."""
    one, three = drawn(series(own=True), "b"), drawn(series(own=True), "a", "b", "c")
    assert (one["price limit: deranked above"], one["usual limit: verified below"]) == (0.06, 0.03)
    assert (three["price limit: deranked above"], three["usual limit: verified below"]) == (0.06, 0.03)
    assert drawn(series(own=True), "a", "b")["price limit: deranked above"] == 0.05
    assert "threshold" not in one


@pytest.mark.parametrize(("own", "threshold"), [(False, "4.00 %"), (True, "6.00 %")])
def test_the_finding_uses_the_same_threshold(own: bool, threshold: str) -> None:
    """A deployment above it is named with its number; the rest by the span."""
    found = rates_finding(series(own=own), ["a", "b", "c"])
    assert (
        found == f"Above the threshold of {threshold}: b (10.0 % of 100 calls at the derank). The other 2 have 1.00 %."
    )


def test_the_finding_of_good_ones_names_all_their_thresholds() -> None:
    """From the lowest to the highest."""
    assert rates_finding(series(own=True), ["a", "c"]) == (
        "All 2 have 1.00 % bad calls; below the threshold of 5.00 to 7.00 %."
    )


def test_a_deranked_line_is_strong_and_its_change_marked() -> None:
    """And lines differ in dashes, not only in colour."""
    chart = signal_chart(series(own=True), CALLS, ["a", "b"], "Bad tool calls", "A finding.")
    assert [line.name for line in chart.lines if line.strong] == ["b"]
    assert chart.marks == [(90.0, "b: verified good to deranked")]
    looks = [(line_of("x", [], number).style, dash_of(number)) for number in range(32)]
    assert len(set(looks)) == 32


@pytest.mark.parametrize(
    ("calls_per_s", "words"),
    [(0.0, "20 of 80 calls; it had none lately."), (0.1, "20 of 80 calls; at your traffic in about 10 min.")],
)
def test_missing_calls_are_counted(calls_per_s: float, words: str) -> None:
    """60 calls at 6 a minute take 10 minutes."""
    reasons = [{"code": "too_few_samples", "signal": CALLS, "samples": 20, "needed": 80}]
    assert missing_words(reasons, calls_per_s) == words
    assert missing_words([{**reasons[0], "samples": 80}], calls_per_s) == ""


def test_a_step_before_a_gap_is_drawn_to_its_end() -> None:
    """Each step has two points; the table has each of them once."""
    chart = Chart("t", "f", "percent", [0.0, 60.0, 120.0], [line_of("a", [0.5, None, 0.25], 0)], step_s=60.0)
    plain = chart.plain()
    assert plain["times"] == [0.0, 59.0, 60.0, 119.0, 120.0, 179.0]
    assert plain["lines"][0]["values"] == [0.5, 0.5, None, None, 0.25, 0.25]
    assert chart.rows() == [(0.0, [(0.5, None)]), (120.0, [(0.25, None)])]


def fleet(tiers: list[str], calls: list[float], bad: list[float], *changes: dict[str, Any]) -> dict[str, Any]:
    """Six hours in steps of half an hour of ``a`` and ``b``; ``b`` has these tiers, and these calls by the hour."""
    times = [1800.0 * (number + 1) for number in range(12)]
    signal = {"value": [0.9] * 12, "samples": [50] * 12}
    of = {"tier": ["verified_good"] * 12, "thresholds": dict.fromkeys(("convicts_above", "acquits_below"), [None] * 12)}
    none = {kind: [0.0] * 6 for kind in (*BAD_KINDS, "rescued")}
    good = {"answers": [100.0] * 6, "calls": [100.0] * 6, "bad": [1.0] * 6, **none, "schema_mismatch": [1.0] * 6}
    own = {"answers": calls, "calls": calls, "bad": bad, **none, "schema_mismatch": bad}
    return {
        "since": 0.0,
        "until": 6 * 3600.0,
        "times": times,
        "changes": list(changes),
        "references": {},
        "common_causes": [],
        "deployments": {name: {**of, "signals": {CALLS: signal}} for name in "a"}
        | {"b": {**of, "tier": tiers, "signals": {CALLS: signal}}},
        "hours": {
            "step_s": 3600.0,
            "times": [3600.0 * hour for hour in range(6)],
            "until": 6 * 3600.0,
            "deployments": {"a": good, "b": own},
        },
    }


def derank(at: float, calls: int, bad: int) -> dict[str, Any]:
    """The transition at a time, with the counts of its hour up to it."""
    told = {"so_far": {"calls": calls, "bad": bad}}
    change = {"kind": "transition", "deployment": "b", "previous": "verified_good", "tier": "deranked"}
    return {**change, "at": at, "changed": told}


def test_a_line_ends_where_its_deployment_is_deranked() -> None:
    """Its later calls are points with counts, without those before the derank; a mark tells when there are none."""
    tiers = ["verified_good"] * 3 + ["deranked"] * 9
    found = fleet(tiers, [100.0, 40.0, 3.0, 0.0, 2.0, 0.0], [1.0, 20.0, 1.0, 0.0, 2.0, 0.0], derank(7000.0, 38, 20))
    chart = signal_chart(found, CALLS, ["a", "b"], "Bad tool calls", "A finding.")
    lines = {line.name: line for line in chart.lines}
    assert lines["a"].values == [pytest.approx(0.1)] * 12
    assert lines["b"].values == [pytest.approx(0.1)] * 4 + [None] * 8
    points = lines["b while deranked"]
    # In the hour of the derank 2 of the 40 calls came after it.
    assert [one for one in points.counts if one] == [(0, 2), (1, 3), (2, 2)]
    assert [value for value in points.values if value is not None] == [0.0, pytest.approx(1 / 3), 1.0]
    assert chart.marks == [
        (7000.0, "b: verified good to deranked"),
        (5 * 3600.0, "b: 7 calls since the derank, the last 04:00 to 05:00 UTC"),
    ]
    assert chart.finding == "A finding. While deranked, in this time: b 3 of 7 calls bad."
    plain = chart.plain()
    assert [line["name"] for line in plain["lines"]] == ["a", "b"]
    assert [point[3:] for point in plain["points"]] == [[0, 2], [1, 3], [2, 2]]
    # One of one is 100 %: such points do not stretch the axis of the lines.
    assert plain["top"] == 0
    assert chart.rows()[9][1][2] == (1.0, (2, 2))


def test_a_deployment_that_was_deranked_before_has_no_line() -> None:
    """And its points are drawn on an axis that reaches them, where nothing else is."""
    found = fleet(["deranked"] * 12, [0.0, 0.0, 2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    chart = signal_chart(found, CALLS, ["b"], "Bad tool calls", "A finding.")
    assert [line.name for line in chart.lines] == ["b while deranked"]
    assert chart.plain()["top"] == 0.5
    assert chart.marks == [(3 * 3600.0, "b: no calls from then on")]
    without = fleet(["deranked"] * 12, [0.0] * 6, [0.0] * 6)
    chart = signal_chart(without, CALLS, ["b"], "Bad tool calls", "A finding.")
    assert (chart.is_empty, chart.marks) == (True, [(0.0, "b: no calls in this time")])
    assert chart.finding.endswith("While deranked, in this time: b no calls.")


def test_a_line_begins_again_after_the_derank() -> None:
    """The calls up to the readmission are points, and no mark says that there are none."""
    tiers = ["verified_good"] * 3 + ["deranked"] * 4 + ["verified_good"] * 5
    back = {**derank(12_700.0, 7, 1), "previous": "deranked", "tier": "verified_good"}
    found = fleet(
        tiers, [100.0, 40.0, 6.0, 50.0, 50.0, 50.0], [1.0, 20.0, 1.0, 3.0, 1.0, 1.0], derank(7000.0, 38, 20), back
    )
    chart = signal_chart(found, CALLS, ["b"], "Bad tool calls", "A finding.")
    line, points = chart.lines
    assert [value is None for value in line.values] == [False] * 4 + [True] * 3 + [False] * 5
    assert [one for one in points.counts if one] == [(0, 2), (1, 6), (1, 7)]
    assert len(chart.marks) == 2


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([100.0, 40.0, 3.0, 0.0, 0.0, 0.0], "no calls from then on"),
        ([100.0, 38.0, 0.0, 0.0, 1.0, 0.0], "1 call since the derank, 04:00 to 05:00 UTC"),
        ([100.0, 38.0, 0.0, 0.0, 0.0, 0.0], "no calls from then on"),
    ],
)
def test_a_single_call_hours_later_is_no_beginning_of_a_time_without_calls(calls: list[float], words: str) -> None:
    """There were none before it either, so that it is counted."""
    tiers = ["verified_good"] * 3 + ["deranked"] * 9
    chart = signal_chart(fleet(tiers, calls, [1.0] * 6, derank(7000.0, 38, 20)), CALLS, ["b"], "Bad tool calls", "")
    assert [told for _, told in chart.marks if "call" in told] == [f"b: {words}"]


def test_the_onset_is_marked_in_charts_and_in_the_history() -> None:
    """As the derank's record tells it; every mark has a short label, and an hour of both kinds of calls a note."""
    change = derank(7000.0, 38, 20)
    change["changed"]["at"] = 6000.0
    found = fleet(["verified_good"] * 3 + ["deranked"] * 9, [100.0] * 6, [5.0] * 6, change)
    chart = signal_chart(found, CALLS, ["b"], "Bad tool calls", "", marked=[(6000.0, "b: onset")])
    assert chart.marks == [(6000.0, "b: onset"), (7000.0, "b: verified good to deranked")]
    assert chart.plain()["marks"] == [[6000.0, "onset"], [7000.0, "deranked"]]
    assert "may jump only at the derank" in chart.notes[0]
    kinds = kinds_chart(found, ["b"], "")
    assert kinds.marks == chart.marks == traffic_chart(found, "").marks
    assert "The hour of an onset has calls from before it too." in kinds.notes
    assert kinds_chart(found, ["a"], "").marks == []
    told = [(at, words) for at, words, _ in history(found, ["b"])]
    assert told == [(6000.0, "b: onset (most likely time)"), (7000.0, "b: verified good to deranked")]


def test_hours_with_few_answers_are_not_drawn() -> None:
    """One bad one of one draws no 100 %; the table has its counts, and a note tells how many hours are left out."""
    found = fleet(["verified_good"] * 12, [100.0, 40.0, 1.0, 0.0, 19.0, 20.0], [5.0, 4.0, 1.0, 0.0, 1.0, 1.0])
    chart = kinds_chart(found, ["b"], "A finding.")
    (line,) = chart.lines
    assert line.values == [0.05, 0.1, None, None, None, 0.05]
    assert [cells[0] for _, cells in chart.rows()][2] == (None, (1.0, 1.0))
    assert chart.notes == ["Hours with fewer than 20 answers are not drawn (2 of 5); the numbers have them."]
    assert traffic_chart(found, "A finding.").lines[1].counts[2] == (1.0, 101.0)


def test_the_hour_that_is_not_over_is_drawn_up_to_its_last_count() -> None:
    """And the table says so; one with few answers is not drawn."""
    found = fleet(["verified_good"] * 12, [100.0] * 6, [1.0] * 6)
    found["hours"]["until"] = 5 * 3600.0 + 600.0
    chart = kinds_chart(found, ["b"], "A finding.")
    assert chart.plain()["times"][-3:] == [5 * 3600.0 - 1.0, 5 * 3600.0, 5 * 3600.0 + 600.0]
    assert [chart.is_running(at) for at in chart.times] == [False] * 5 + [True]
    assert chart.notes == ["The last hour is drawn up to 05:10 UTC."]
    found["hours"]["deployments"]["b"]["answers"][5] = 2.0
    assert "drawn up to" not in " ".join(kinds_chart(found, ["b"], "A finding.").notes)


def test_common_causes_are_bands_of_every_chart() -> None:
    """With their times and sizes in words; one that lasts goes on to the end."""
    found = fleet(["verified_good"] * 12, [100.0] * 6, [1.0] * 6)
    found["common_causes"] = [
        {"begin": 3600.0, "end": 5400.0, "value": 0.15, "peers": 4},
        {"begin": 18_000.0, "end": None, "value": 0.2, "peers": 3},
    ]
    charts = [signal_chart(found, CALLS, ["b"], "t", "f"), kinds_chart(found, ["b"], "f"), traffic_chart(found, "f")]
    assert [chart.plain()["causes"] for chart in charts] == [[[3600.0, 5400.0], [18_000.0, None]]] * 3
    assert causes_words(charts[0]) == (
        "Common cause: 1970-01-01 01:00 to 01:30 UTC (about 15 points at 4 deployments), 1970-01-01 05:00 to 06:00 UTC "
        "and on (about 20 points at 3 deployments)."
    )
