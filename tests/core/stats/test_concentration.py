"""What each caller counts for: its volume, its failures, its faultless calls, and its speeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.stats.concentration import answer_weights, caller_factors

COUNTS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=1, max_size=12)


def counted(*callers: tuple[int, int], share: float = 0.5) -> tuple[float, float]:
    """Calls and bad calls that count of callers with so many calls, of which so many are bad."""
    calls = np.array([[[number] for number, _ in callers]])
    bad = np.array([[[number] for _, number in callers]])
    factor, factor_bad = caller_factors(calls, bad, share)
    return float(factor[0, 0] * calls.sum()), float(factor_bad[0, 0] * bad.sum())


def test_callers_that_agree_count_in_full() -> None:
    """However different their sizes are, and also where there are two in all."""
    assert counted((100, 0), (100, 0), (100, 0)) == (300, 0)
    assert counted((50, 12), (50, 13)) == pytest.approx((100, 25), abs=1)
    assert counted((600, 150), (500, 125), (40, 10), (40, 11), (40, 9)) == pytest.approx((1220, 305), rel=0.05)
    assert counted(*[(4, 1)] * 30) == (120, 30)


def test_the_largest_caller_counts_for_all_others_together() -> None:
    """A single one for nothing, unless the rule says that it does."""
    assert counted((300, 60), (50, 10), (50, 10)) == pytest.approx((200, 40))
    assert counted((100, 20)) == (0, 0)
    assert counted((100, 20), share=1.0) == (100, 20)


@pytest.mark.parametrize("sent", [10, 100, 12_000])
@pytest.mark.parametrize("others", [3, 10])
def test_failures_of_one_caller_alone_do_not_add_up(sent: int, others: int) -> None:
    """However many it sends beside callers without failures; what does not count is no call either."""
    calls, bad = counted((sent, sent), *[(40, 0)] * others)
    assert bad <= 3
    assert calls == pytest.approx(40 * others + bad)


@pytest.mark.parametrize("others", [3, 10])
def test_neither_do_those_of_two(others: int) -> None:
    """Two do not vouch for each other while they have less traffic than the others."""
    _, bad = counted((20 * others, 20 * others), (20 * others, 20 * others), *[(40, 0)] * others)
    assert bad <= 4


def test_two_do_not_multiply_the_chance_failures_of_a_few_others() -> None:
    """What others confirm counts once more for both suspects together."""
    assert counted((7, 7), (7, 7), (11, 1), (11, 1), (11, 0))[1] == 4
    assert counted((7, 7), (7, 7), (11, 0), (11, 0), (11, 0))[1] == 2


def test_clusters_count_while_more_callers_than_the_suspects_see_them() -> None:
    """Each caller has one session here; a third of the sessions fail."""
    assert counted(*[(4, 4)] * 5, *[(4, 0)] * 10) == (60, 20)


def test_what_a_third_of_the_callers_see_counts() -> None:
    """Some tools fail that only they use."""
    calls, bad = counted(*[(100, 25)] * 4, *[(100, 0)] * 8)
    assert bad == 100
    assert calls <= 1200


def test_what_most_callers_see_counts() -> None:
    """Then a caller with more of it loses nothing."""
    assert counted(*[(100, 25)] * 5, (100, 28)) == (600, 153)


@pytest.mark.parametrize("diluting", [1, 2, 5])
def test_faultless_calls_of_some_do_not_hide_what_the_others_see(diluting: int) -> None:
    """The rate stays above half of what the others see."""
    calls, bad = counted(*[(100, 25)] * 10, *[(2000, 0)] * diluting)
    assert bad / calls > 0.125


def test_callers_without_failures_lose_nothing_beside_a_few_failures() -> None:
    """Up to three failures say nothing about others' calls."""
    assert counted((400, 0), *[(40, 1)] * 3, (400, 0)) == (920, 3)


@given(COUNTS)
def test_limits_never_add_anything(callers: list[tuple[int, int]]) -> None:
    """Of any callers at most what they sent counts, and no more bad calls than calls."""
    callers = [(max(pair), min(pair)) for pair in callers]
    calls, bad = counted(*callers)
    assert 0 <= calls <= sum(number for number, _ in callers) * (1 + 1e-12)
    assert 0 <= bad <= sum(number for _, number in callers) * (1 + 1e-12)
    assert bad <= calls * (1 + 1e-9) + 1e-9


@given(COUNTS, st.randoms(use_true_random=False))
def test_numbers_of_callers_mean_nothing(callers: list[tuple[int, int]], shuffler: object) -> None:
    """Callers without ties count the same under any numbers."""
    callers = [(sum(pair) * 16 + 2 * place, min(pair) * 16 + place) for place, pair in enumerate(callers)]
    other = list(callers)
    shuffler.shuffle(other)  # type: ignore[attr-defined]
    assert counted(*callers) == pytest.approx(counted(*other))


def classes(*callers: tuple[int, ...]) -> np.ndarray:
    """Answers by caller and class of speed, of one row."""
    return np.array(callers)[:, :, np.newaxis]


def test_slow_answers_of_one_caller_weigh_less() -> None:
    """Less than half of all, however many they are; where nobody has too many, no row is limited."""
    rows, weights = answer_weights(classes((1000, 0), (0, 50), (0, 50), (0, 50)))
    assert rows.tolist() == [0]
    assert weights[0, 0] * 1000 < 0.5 * weights[1, 0] * 150
    assert len(answer_weights(classes((20, 30), (30, 20), *[(25, 25)] * 4))[0]) == 0


def test_slow_answers_of_two_callers_weigh_less_than_half() -> None:
    """Of the whole, beside three others."""
    _, weights = answer_weights(classes((900, 0), (1000, 0), (0, 50), (0, 50), (0, 50)))
    assert weights[0, 0] * 1900 < weights[1, 0] * 150


def test_the_speeds_of_a_lone_caller_count_in_full() -> None:
    """There is nobody to protect."""
    assert len(answer_weights(classes((1000, 10), (0, 0)))[0]) == 0
