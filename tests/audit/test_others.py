"""Whether another deployment of a model group is suspicious, and what a common cause was."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from exacto_plugin.audit.common_cause_sentences import common_cause_sentence
from exacto_plugin.audit.incidents.others import has_suspicious, others_of_groups, others_sentence
from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.web.incident_details import cause_hours, with_details
from tests.audit.test_sentences import reason, view

AT = 1_800_000_000.0


def one(name: str, bad: float | None, calls: int, tier: str = "verified_good", code: str = "") -> dict[str, Any]:
    """A deployment of the API's ``models``."""
    good = None if bad is None else 1.0 - bad
    found = {"code": code or "within_threshold", "signal": "tool_call_success", "threshold": 0.97}
    return {
        "deployment": name,
        "tier": tier,
        "reasons": [found] if good is not None else [],
        "signals": {} if good is None else {"tool_call_success": {"value": good, "samples": calls}},
    }


def group(*deployments: dict[str, Any]) -> dict[str, Any]:
    """A model group of them."""
    return {"model_group": "g", "deployments": list(deployments), "references": {}}


def test_the_nearest_is_named_with_its_threshold() -> None:
    """Where none is suspicious; those without enough calls are counted."""
    found = group(one("d", 0.2, 90, "deranked"), one("a", 0.004, 900), one("b", 0.012, 310), one("c", None, 0))
    assert others_sentence(found) == (
        "No other deployment of g is suspicious; the nearest is b with 1.20 % bad of 310 calls (threshold 3.00 %). "
        "1 of them has too few calls to tell."
    )
    assert others_sentence(group(one("a", 0.004, 900))).startswith("No deployment of g is suspicious; the nearest is a")
    assert "too few calls yet" in others_sentence(group(one("d", 0.2, 90, "deranked"), one("c", None, 0)))
    assert others_sentence(group(one("d", 0.2, 90, "deranked"))) == "g has no other deployment."


def test_suspicious_ones_are_named_before() -> None:
    """Above the threshold with some calls, or probably bad by the rule; two bad calls of three are none."""
    found = group(
        one("a", 0.08, 40),
        one("b", 0.67, 3, "insufficient_data"),
        one("c", 0.02, 12, code="probably_bad"),
        one("e", 0, 9),
    )
    told = others_sentence(found)
    assert told == (
        "Suspicious in g, and not deranked: a with 8.00 % bad of 40 calls (threshold 3.00 %), "
        "c with 2.00 % bad of 12 calls (threshold 3.00 %)."
    )
    assert has_suspicious(found)
    assert not has_suspicious(group(one("a", 0.2, 90, "deranked"), one("b", 0.67, 3, "insufficient_data")))


def test_other_groups_and_the_provider_are_told() -> None:
    """None of another group is suspicious, or which one; and the same provider's deployments, in all groups."""
    wrong = [{"open": True, "model_group": "g", "deployment": "d", "provider": "acme"}]
    of_acme = {**one("x", 0.004, 900), "provider": "acme"}
    own = group(one("d", 0.2, 90, "deranked"), one("a", 0.004, 900))
    fine = {**group(of_acme, one("y", 0.0, 900)), "model_group": "h"}
    told = others_of_groups([own, fine], wrong)
    assert told[1:] == [
        "No deployment of any other model group is suspicious.",
        "No other deployment of provider acme is suspicious (x in h).",
    ]
    bad = {**group({**of_acme, **one("x", 0.08, 40)}, one("y", 0.0, 900)), "model_group": "h"}
    told = others_of_groups([own, bad], wrong)
    assert told[1].startswith("Suspicious in h, and not deranked: x with")
    assert told[2:] == ["Also of provider acme: x in h (suspicious)."]
    assert len(others_of_groups([own], wrong)) == 1
    assert others_of_groups([fine], []) == []


def test_a_common_cause_has_its_deployments_kinds_and_end() -> None:
    """Of the hours in which it was; those of its deployments with the most answers."""
    rose = reason("common_cause", None, value=0.14, peers=2, begin=AT + 600.0, end=AT + 2400.0)
    assert cause_hours(rose, AT + 9000.0) == (AT, AT + 2400.0)
    assert cause_hours({**rose, "end": None}, AT + 9000.0) == (AT, AT + 9000.0)
    rows = [
        (AT, "g", "a", {"answers": 50.0, "schema_mismatch": 8.0, "invalid_json": 1.0}),
        (AT, "g", "b", {"answers": 60.0, "schema_mismatch": 6.0}),
        (AT, "g", "c", {"answers": 2.0}),
        (AT, "g", "", {"picks": 112.0}),
    ]
    told = common_cause_sentence(with_details(rose, rows), UTC)
    assert (
        "all 2 deployments with enough calls (a, b) was about 14 points higher from 2027-01-15 08:10:00 to "
        "08:40:00 UTC, and is over: a common cause" in told
    )
    assert told.endswith("Mostly arguments against the schema (14 of 15 bad answers in the hour of 08:00).")
    longer = {**rose, "end": AT + 4200.0}
    assert "in the hours of 08:00 to 09:00)" in common_cause_sentence(with_details(longer, rows), UTC)
    assert "Mostly" not in common_cause_sentence(rose, UTC)


def test_numbers_of_a_derank_are_told_as_past() -> None:
    """On a model group's page too, which does not look up the way back."""
    deranked = view("deranked", reason("below_threshold"))
    told = why_sentence({**deranked, "numbers_of_derank": True}, UTC)
    assert "It was deranked for a tool-call success of 81.3 % (212 calls within 15 min)" in told
    assert "over the last" not in told
    assert "over the last 15 min is" in why_sentence(deranked, UTC)
