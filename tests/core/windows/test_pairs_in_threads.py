"""Pairs of answers that are read while synchronous calls of a program add more."""

from __future__ import annotations

import gc
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.windows.pairs import LEAST_PAIRS, PairedAnswer, PairedAnswers

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHERS = 20
READS = 100


@pytest.fixture
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_often")
def test_reading_meets_no_error() -> None:
    """Neither a new pair nor another request of a known one ends a reading."""
    pairs, done = PairedAnswers(), threading.Event()
    own = PairedAnswer(DeploymentKey("a"), 100, True)

    def add(number: int) -> None:
        pairs.add("kimi", own, PairedAnswer(DeploymentKey(f"b{number}"), 112, True))

    def go_on() -> None:
        number = 0
        while not done.is_set():
            add(number % (2 * OTHERS))
            number += 1

    for number in range(OTHERS * LEAST_PAIRS):
        add(number % OTHERS)
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        for _ in range(READS):
            found = pairs.of("kimi", own.deployment)
            assert len(found) >= OTHERS
            assert {one.offset for one in found} == {-12}
    finally:
        done.set()
        thread.join()


def test_a_collection_of_garbage_meets_no_error() -> None:
    """It may run wherever an object is made, and other threads with it: here a new pair is added each time."""
    pairs, made = PairedAnswers(), 0
    own = PairedAnswer(DeploymentKey("a"), 100, True)

    def add(phase: str, _info: dict[str, int]) -> None:
        nonlocal made
        if phase == "start":
            pairs.add("kimi", own, PairedAnswer(DeploymentKey(f"b{made}"), 112, True))
            made += 1

    for number in range(OTHERS):
        pairs.add("kimi", own, PairedAnswer(DeploymentKey(f"known{number}"), 112, True))
    # Python makes no new tuples of two as long as it has freed ones.
    held = [(number, number) for number in range(3000)]
    before = gc.get_threshold()
    gc.callbacks.append(add)
    gc.set_threshold(1)
    try:
        for _ in range(READS):
            pairs.of("kimi", own.deployment)
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(add)
    assert held
    assert made
