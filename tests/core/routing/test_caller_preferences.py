"""What callers pin and ignore: distinct keys in bounded memory."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.core.routing.caller_preferences import GENERATION_S, CallerPreferences, KMinValues, PreferenceCounts

KEYS = st.integers(0, 2**64 - 1)


def counted(keys: list[int]) -> KMinValues:
    """A count that has seen some keys."""
    count = KMinValues()
    for key in keys:
        count.add(key)
    return count


@given(st.lists(KEYS, max_size=200), st.lists(KEYS, max_size=50))
def test_few_keys_are_counted_exactly(keys: list[int], more: list[int]) -> None:
    """However often they come, and whoever saw them."""
    assert counted(keys + keys).count == len(set(keys))
    assert counted(keys).union(counted(more)).count == len({*keys, *more})


def test_many_keys_are_estimated() -> None:
    """Within four standard errors of 6 %, in bounded memory, and alike in whatever order they come."""
    draw = random.Random(7)
    keys = [draw.getrandbits(64) for _ in range(20_000)]
    count = counted(keys)
    assert abs(count.count - 20_000) < 0.25 * 20_000
    assert len(count._smallest) == 256
    assert counted(sorted(keys)).count == counted(sorted(keys, reverse=True)).count == count.count
    assert counted(keys[::2]).union(counted(keys[1::2])).count == count.count


def test_choices_by_group_and_provider() -> None:
    """Keys count once each, and only where they said it."""
    choices = CallerPreferences()
    for key in (1, 2, 3, 3):
        choices.record_call("g", key, 0.0)
    choices.record_preference("g", 3, ignored=["a"], pinned=["b"], passed_over=["c"])
    choices.record_preference("g", 3, ignored=["a"])
    choices.record_preference("g", 2, ignored=["a"])
    assert choices.callers("g") == 3
    assert choices.of("g", "a") == PreferenceCounts(2, 0, 0)
    assert choices.of("g", "b") == PreferenceCounts(0, 1, 0)
    assert choices.of("g", "c") == PreferenceCounts(0, 0, 1)
    assert choices.of("other", "a") == PreferenceCounts(0, 0, 0)
    assert choices.callers("other") == 0


def test_what_is_no_longer_said_fades() -> None:
    """A choice outlives one change of generation and not two."""
    choices = CallerPreferences()
    choices.record_call("g", 1, 0.0)
    choices.record_preference("g", 1, ignored=["a"])
    choices.record_call("g", 2, GENERATION_S + 1)
    assert (choices.callers("g"), choices.of("g", "a").ignored_by) == (2, 1)
    choices.record_call("g", 2, 2 * GENERATION_S + 2)
    assert (choices.callers("g"), choices.of("g", "a").ignored_by) == (1, 0)
