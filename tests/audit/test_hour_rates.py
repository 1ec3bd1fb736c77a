"""Shares of bad answers by the hour: own ones, those of hours without traffic, and changes within an hour."""

from __future__ import annotations

import numpy as np
import pytest

from exacto_plugin.audit.hours.hour_rates import CallChange, HourRates, call_changes, hour_rates
from exacto_plugin.records import TransitionRecord

HOUR = 3600.0


def rates(
    answers: list[float], bad: list[float], expected: float = 100.0, changes: tuple[CallChange, ...] = ()
) -> HourRates:
    """Those of hours from 0 on."""
    return hour_rates(0.0, np.array(answers), np.array(bad), np.full(len(answers), expected), changes)


def test_hours_with_traffic_have_their_own_share() -> None:
    """Also few answers, where it gets no more."""
    found = rates([100, 60, 100], [1, 6, 0])
    assert found.rate.tolist() == [0.01, 0.1, 0.0]
    assert rates([3, 4], [0, 4], expected=4.0).rate.tolist() == [0.0, 1.0]


def test_an_hour_of_probes_has_that_of_the_newest_answers() -> None:
    """Of at least 50 of them; older ones do not count."""
    found = rates([100, 100, 2, 0], [0, 30, 1, 0])
    assert found.rate == pytest.approx([0.0, 0.3, 31 / 102, 31 / 102])
    assert found.is_own.tolist() == [True, True, False, False]


def test_answers_from_before_a_change_say_nothing_about_later_hours() -> None:
    """The hour itself has its own share; later ones that of its second part."""
    found = rates([100, 100, 0], [1, 30, 0], changes=(CallChange(HOUR, 40.0, 0.0),))
    assert found.rate == pytest.approx([0.01, 0.3, 0.5])
    assert found.moved == pytest.approx([0.01, 0.5, 0.5])
    again = rates([100, 100, 0, 4, 0], [1, 30, 0, 0, 0], changes=(CallChange(HOUR, 40, 0), CallChange(3 * HOUR, 0, 0)))
    assert again.rate == pytest.approx([0.01, 0.3, 0.5, 0.0, 0.0])
    before = rates([100, 0], [50, 0], changes=(CallChange(-5 * HOUR, 90.0, 0.0), CallChange(9 * HOUR, 1.0, 1.0)))
    assert before.rate.tolist() == [0.5, 0.5]


def test_hours_before_the_first_answer_have_the_first_share() -> None:
    """Nothing at all is told as such."""
    assert rates([0, 100], [0, 20]).rate.tolist() == [0.2, 0.2]
    assert np.isnan(rates([0, 0], [0, 0]).rate).all()


def test_changes_are_those_on_record() -> None:
    """By deployment, in order; older records have none."""
    told = {"at": 2 * HOUR + 60.0, "before": {"answers": 7, "bad": 1}}
    records = [
        TransitionRecord(at, "g", name, "verified_good", "deranked", [], "s", changed)
        for at, name, changed in ((9 * HOUR, "a", {**told, "at": 8 * HOUR}), (3 * HOUR, "a", told), (1.0, "b", None))
    ]
    assert call_changes(records) == {"a": [CallChange(2 * HOUR, 7, 1), CallChange(8 * HOUR, 7, 1)]}
