"""The report's numbers are those of the counts, and its intervals hold what they promise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from exacto_plugin.audit.formatting import money
from exacto_plugin.audit.report import report
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.routing.counterfactual import CounterfactualCounts
from exacto_plugin.core.wire import to_wire
from exacto_plugin.records import HourRecord

RATES = {"a": 0.01, "b": 0.02, "c": 0.2}
PRICES = {"a": 0.003, "b": 0.002, "c": 0.001}


def rows(counts: CounterfactualCounts) -> list[HourRecord]:
    """What a worker writes."""
    return [
        HourRecord(row.hour, row.model_group, row.deployment, "w", to_wire(row.numbers)) for row in counts.take(0.0)
    ]


def observed(seed: int, requests: int = 3000) -> list[HourRecord]:
    """A model group under ``observe``: everybody serves, and tiers would leave out the bad one."""
    draw = np.random.default_rng(seed)
    counts = CounterfactualCounts()
    for _ in range(requests):
        counts.add_pick(
            0.0,
            "kimi",
            (*map(DeploymentKey, ("a", "b", "c")),),
            (DeploymentKey("a"), DeploymentKey("b")),
            applied=False,
        )
        name = str(draw.choice(list(RATES)))
        cost = PRICES[name] * float(draw.lognormal(0, 0.5))
        counts.add_answer(0.0, "kimi", DeploymentKey(name), bad=bool(draw.random() < RATES[name]), cost=cost)
    return rows(counts)


def test_observe_tells_what_would_change() -> None:
    """A third of the picks, with the bad calls and the spend that this comes to."""
    (group,) = report(observed(1))
    assert group["applied"] == 0.0
    changed = group["changed"]
    assert changed["value"] == pytest.approx(1 / 3)
    assert changed["low"] == pytest.approx(1 / 3, abs=0.03)
    assert changed["low"] < 1 / 3 < changed["high"]
    assert group["bad"]["without"]["value"] == pytest.approx(3000 * 0.23 / 3, rel=0.2)
    assert group["bad"]["with"]["value"] == pytest.approx(3000 * 0.015, rel=0.4)
    assert group["bad"]["would_save"]["low"] > 100
    assert group["spend_usd"]["would_save"]["high"] < 0, "the bad one was the cheapest"
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert group["bad"]["saved"] == group["spend_usd"]["saved"] == nothing, "no request was sent elsewhere"


def mixed() -> CounterfactualCounts:
    """Nine requests observed, three applied; a bad one would have had, or had, half of them."""
    counts = CounterfactualCounts()
    everyone, pool = (DeploymentKey("a"), DeploymentKey("b")), (DeploymentKey("a"),)
    for number in range(12):
        counts.add_pick(0.0, "kimi", everyone, pool, applied=number >= 9)
        counts.add_answer(0.0, "kimi", DeploymentKey("a"), bad=False, cost=2.0)
        counts.add_answer(0.0, "kimi", DeploymentKey("b"), bad=True, cost=1.0)
    return counts


@pytest.mark.parametrize("earlier", [False, True], ids=["on-record", "of-an-earlier-version"])
def test_only_requests_that_tiers_moved_count_as_saved(earlier: bool) -> None:
    """Of twelve bad calls six would go; three quarters of the requests were only observed."""
    found = rows(mixed())
    if earlier:
        found = [replace(row, numbers={k: v for k, v in row.numbers.items() if k[:8] != "applied_"}) for row in found]
    (group,) = report(found)
    assert group["applied"] == 0.25
    assert [group["bad"][name]["value"] for name in ("without", "with", "difference")] == [6, 0, -6]
    for kind in ("bad", "spend_usd"):
        told = {name: group[kind][name]["value"] for name in ("difference", "saved", "would_save")}
        assert told["saved"] == pytest.approx(-0.25 * told["difference"])
        assert told["would_save"] == pytest.approx(-0.75 * told["difference"])


def test_no_number_is_impossible() -> None:
    """One bad answer of one request is at most one; a share is within its interval."""
    counts = CounterfactualCounts()
    counts.add_pick(0.0, "kimi", (DeploymentKey("a"),), (DeploymentKey("a"),))
    counts.add_answer(0.0, "kimi", DeploymentKey("a"), bad=True, cost=None)
    (group,) = report(rows(counts))
    for name in ("with", "without"):
        assert group["bad"][name]["low"] <= group["bad"][name]["value"] <= group["bad"][name]["high"] <= 1.0
    assert group["changed"]["low"] <= group["changed"]["value"] == 0.0


def test_intervals_hold_the_truth() -> None:
    """Over many repetitions, at least 95 % of the intervals hold what true rates come to."""
    held = 0
    for seed in range(60):
        (group,) = report(observed(seed, 400))
        saved: dict[str, Any] = group["bad"]["would_save"]
        truth = 400 * (0.23 / 3 - 0.015)
        held += saved["low"] <= truth <= saved["high"]
    assert held >= 57


def test_conversations_count_as_their_first_turn() -> None:
    """Requests that stay where their conversation is go where the picks went."""
    counts = CounterfactualCounts()
    for _ in range(10):
        counts.add_pick(0.0, "kimi", (DeploymentKey("a"), DeploymentKey("b")), (DeploymentKey("a"),))
        counts.add_answer(0.0, "kimi", DeploymentKey("a"), bad=False, cost=1.0)
        counts.add_answer(0.0, "kimi", DeploymentKey("b"), bad=True, cost=1.0)
    for _ in range(30):
        counts.add_stay(0.0, "kimi")
    (group,) = report(rows(counts))
    assert group["requests"] == 40
    assert group["bad"]["without"]["value"] == 20
    assert group["bad"]["with"]["value"] == 0


def test_probes_and_rescue_have_a_price() -> None:
    """Extra spend of a probe is the difference to whom the tiers would have asked; rescue's is what nobody got."""
    counts = CounterfactualCounts()
    for _ in range(10):
        counts.add_pick(
            0.0, "kimi", (DeploymentKey("a"), DeploymentKey("b")), (DeploymentKey("a"),), DeploymentKey("b")
        )
        counts.add_answer(0.0, "kimi", DeploymentKey("a"), bad=False, cost=1.0)
        counts.add_answer(0.0, "kimi", DeploymentKey("b"), bad=False, cost=3.0)
    counts.add_rescue(0.0, "kimi", DeploymentKey("a"), rescued=True, cost=0.5)
    counts.add_pick(0.0, "kimi", (DeploymentKey("a"), DeploymentKey("new")), (DeploymentKey("a"), DeploymentKey("new")))
    (group,) = report(rows(counts))
    assert group["probes"]["requests"] == 10
    assert group["probes"]["extra_usd"]["value"] == pytest.approx(20.0)
    assert group["rescue"] == {"asked": 1, "rescued": 1, "extra_usd": 0.5}
    assert group["unmeasured"] == ["new"]


def test_without_prices_nothing_is_said_about_spend() -> None:
    """An unknown price is not a price of zero."""
    counts = CounterfactualCounts()
    counts.add_pick(0.0, "kimi", (DeploymentKey("a"), DeploymentKey("b")), (DeploymentKey("a"),))
    counts.add_answer(0.0, "kimi", DeploymentKey("a"), bad=False, cost=None)
    (group,) = report(rows(counts))
    assert group["spend_usd"] is None
    assert group["probes"]["extra_usd"] is None
    assert report([]) == []


def test_money_has_its_sign_first() -> None:
    """A saving is told as such, whatever its size."""
    assert [money(amount) for amount in (-3.8e-06, -12.5, 0.0, 0.051, 6.5e-17)] == [
        "-$0.0000038", "-$12.50", "$0", "$0.051", "$0"
    ]  # fmt: skip
