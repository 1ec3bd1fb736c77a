"""Pairs of answers that are read while synchronous calls of a program add more."""

from __future__ import annotations

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
