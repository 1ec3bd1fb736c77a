"""Charts and their findings: thresholds in the direction of the chart, and words that agree with the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from exacto_plugin.audit.incidents.findings import missing_words, rates_finding
from exacto_plugin.web.chart import Chart, dash_of, line_of
from exacto_plugin.web.charts import reference_lines, signal_chart

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
    assert (one["deranked above"], one["verified below"]) == (0.06, 0.03)
    assert (three["deranked above"], three["verified below"]) == (0.06, 0.03)
    assert drawn(series(own=True), "a", "b")["deranked above"] == 0.05
    assert "threshold" not in one


@pytest.mark.parametrize(("own", "threshold"), [(False, "4.00 %"), (True, "6.00 %")])
def test_the_finding_uses_the_same_threshold(own: bool, threshold: str) -> None:
    """A deployment above it is named with its number; the rest by the span."""
    found = rates_finding(series(own=own), ["a", "b", "c"])
    assert found == f"Above the threshold of {threshold}: b (10.0 %). The other 2 have 1.00 %."


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
