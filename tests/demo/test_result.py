"""The end of the demonstration: one sentence, and a picture."""

from __future__ import annotations

from xml.etree import ElementTree

from exacto_plugin.core.model import Outcome
from exacto_plugin.demo.result import DemoCounts, conclusion, picture


def counts(answers: int, bad: int, usd: float, provider: str = "a") -> DemoCounts:
    """A phase with so many answers of one provider, the first ones bad."""
    made = DemoCounts()
    for number in range(answers):
        made.add(provider, Outcome.INVALID_JSON if number < bad else Outcome.VALID, usd)
    return made


def test_the_sentence() -> None:
    """Broken calls before and after, how many times fewer, and what a call costs."""
    before = counts(120, 18, 0.001)
    assert conclusion(before, counts(100, 1, 0.001)) == (
        "18 of 120 calls were broken before (15.00 %), 1 of 100 after (1.00 %): 15 times fewer, at the same spend."
    )
    assert conclusion(before, counts(100, 0, 0.0011)).endswith("0 of 100 after (0.00 %), for 10% more spend a call.")
    assert conclusion(before, counts(100, 50, 0.0009)).endswith("(50.00 %), for 10% less spend a call.")
    assert conclusion(counts(10, 1, 0.0), counts(10, 0, 0.0)).endswith("(0.00 %).")
    assert conclusion(DemoCounts(), DemoCounts()).startswith("0 of 0 calls were broken before")


def test_the_picture() -> None:
    """A bar of every provider before and after; names are text, whatever is in them."""
    before, after = counts(120, 18, 0.001, "<novita>"), counts(100, 1, 0.001, "own")
    drawn = picture("a & b", before, after, {"own": "verified good", "<novita>": "deranked"})
    root = ElementTree.fromstring(drawn)
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a & b", "<novita>", "own", "120, 18 bad", "100, 1 bad", "before: 18 bad of 120"} <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + 2 * 2 * 2
