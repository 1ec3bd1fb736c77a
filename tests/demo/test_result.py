"""The end of the demonstration: one sentence, and a picture."""

from __future__ import annotations

from xml.etree import ElementTree

from exacto_plugin.core.model import Outcome
from exacto_plugin.demo.result import DemoCounts, conclusion, picture

SVG = "{http://www.w3.org/2000/svg}"


def counts(answers: int, bad: int, usd: float, provider: str = "a") -> DemoCounts:
    """A phase with so many answers of one provider, the first ones bad."""
    made = DemoCounts()
    for number in range(answers):
        made.add(provider, Outcome.INVALID_JSON if number < bad else Outcome.VALID, usd)
    return made


def test_the_sentence() -> None:
    """Broken calls before and after, how sure the latter is, and what a call costs."""
    before = counts(120, 18, 0.001)
    assert conclusion(before, counts(100, 1, 0.001)) == (
        "18 of 120 calls were broken before (15.00 %), 1 of 100 after (1.00 %, 95 % interval 0.18 to 5.45 %), at"
        " the same spend."
    )
    assert conclusion(before, counts(100, 0, 0.0011)).endswith(
        "0 of 100 after (0.00 %, 95 % interval 0.00 to 3.70 %), for 10% more spend a call."
    )
    assert conclusion(before, counts(100, 50, 0.0009)).endswith("40.38 to 59.62 %), for 10% less spend a call.")
    assert conclusion(counts(10, 1, 0.0), counts(10, 0, 0.0)).endswith("0.00 to 27.75 %).")
    assert conclusion(DemoCounts(), DemoCounts()).startswith("0 of 0 calls were broken before")


def test_the_picture() -> None:
    """A bar of every provider before and after; names are text, whatever is in them."""
    before, after = counts(120, 18, 0.001, "<novita>"), counts(100, 1, 0.001, "own")
    drawn = picture("a & b", "a table", before, after, {"own": "verified good", "<novita>": "deranked"})
    root = ElementTree.fromstring(drawn)
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert {"a & b", "a table", "<novita>", "own", "120, 18 bad", "100, 1 bad", "before: 18 bad of 120"} <= set(texts)
    assert root.findtext(f"{SVG}title") == "a & b"
    assert len(list(root.iter(f"{SVG}rect"))) == 1 + 2 * 2 * 2 + 2


def test_the_picture_holds_what_it_says() -> None:
    """Neither a long sentence nor the label of the longest bar leaves its place."""
    before, after = counts(980, 93, 0.001), counts(500, 4, 0.0009)
    root = ElementTree.fromstring(picture(conclusion(before, after), "a table", before, after, {"a": "deranked"}))
    width = float(root.attrib["width"])
    texts = [
        (float(one.attrib["x"]), float(one.attrib["font-size"]), one.text or "") for one in root.iter(f"{SVG}text")
    ]
    # Sans-serif letters are half as wide as high on average, bold ones 0.6 times.
    ends = [(x + (0.6 if size > 12 else 0.55) * size * len(text), x, text) for x, size, text in texts]
    assert max(end for end, _, _ in ends) <= width
    (label,) = [end for end, _, text in ends if text == "980, 93 bad"]
    assert label <= next(x for _, x, text in ends if text.startswith("after:"))
