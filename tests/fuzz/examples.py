"""How many examples a property is tried with: few in a test run, many in a soak, by the same decorator."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = "EXACTO_FUZZ_EXAMPLES"
"""The environment variable that says how many; read when a target is imported."""

_FEW = 30


def fuzz(*given_by: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function of random values a test, and a target of ``make soak``."""

    def decorate(target: Callable[..., None]) -> Callable[..., None]:
        tried: Callable[..., None] = given(*given_by)(target)
        return settings(max_examples=int(os.environ.get(EXAMPLES, _FEW)))(tried)

    return decorate
