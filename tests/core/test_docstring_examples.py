"""The worked examples in docstrings."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

from tests.support.source_tree import modules

WITH_EXAMPLES = [name for name, path in modules().items() if ">>>" in path.read_text()]


def test_the_dense_modules_have_examples() -> None:
    """Every module of array code shows one in numbers."""
    dense = {
        "stats.binomial",
        "stats.concentration",
        "stats.integers",
        "stats.leave_one_out",
        "stats.log_bins",
        "stats.peers",
        "tiers.adaptive.history",
        "tiers.adaptive.exploration",
        "tiers.adaptive.failure_rates",
        "tiers.signals",
        "windows.counter_ring",
        "windows.histogram_ring",
        "windows.minute_buffer",
        "windows.percentiles",
        "windows.speed",
        "windows.windows",
    }
    assert dense <= {name.removeprefix("exacto_plugin.core.") for name in WITH_EXAMPLES}


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    """What an example shows is what comes out."""
    outcome = doctest.testmod(import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
