"""Beginnings of texts that are known only in part."""

from __future__ import annotations

from exacto_plugin.core.scoring.error_text import BEGINNINGS, may_be_error
from exacto_plugin.core.text_beginnings import TextBeginnings


def test_the_look_up_by_the_first_character_finds_what_a_comparison_with_each_finds() -> None:
    """Every piece of every beginning, with and without more text, and texts beside them."""
    known = TextBeginnings(BEGINNINGS)
    pieces = {one[:place] for one in BEGINNINGS for place in range(len(one) + 1)}
    for text in {*pieces, *(f"{piece}x" for piece in pieces), *(f"x{piece}" for piece in pieces)}:
        expected = any(text.startswith(one) or one.startswith(text) for one in BEGINNINGS)
        assert known.may_begin(text) is expected, text


def test_a_beginning_may_be_that_of_an_error() -> None:
    """As far as the text is there, in any case and after spaces."""
    assert may_be_error("  RATE limit")
    assert may_be_error("")
    assert not may_be_error("Rates limit")
