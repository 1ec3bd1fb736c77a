"""The worked example of docs/explanation/verdict.md, computed again by the engine: page and code cannot differ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from exacto_plugin.core.model import DeploymentKey, Signal, Tier
from exacto_plugin.core.stats.binomial import lower_tail, upper_tail, wilson_upper
from exacto_plugin.core.tiers.adaptive import judge, strictness
from exacto_plugin.core.tiers.adaptive.failure_rates import failure_rates
from exacto_plugin.core.tiers.adaptive.parameters import AdaptiveParameters
from tests.support.adaptive_fleets import Fleet

if TYPE_CHECKING:
    from exacto_plugin.core.tiers.adaptive.failure_rates import FailureRates

PAGE = (Path(__file__).parents[1] / "docs/explanation/verdict.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
RULE = AdaptiveParameters()
HOSTS = re.findall(r"^\| ([a-f]) \| ([\d.]+) \| ([\d,]+) \| (\d+) \|", PAGE, re.MULTILINE)
"""Letter, price, calls and bad calls: the page's first table is the input."""
LETTERS = [host[0] for host in HOSTS]


class Example:
    """The engine's verdicts on the page's deployments, and the numbers that they come from."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        choose = strictness._choose
        rates: list[FailureRates] = []
        choices: list[tuple[strictness.PriceShares, Any, Any]] = []

        def noting_rates(*given: Any) -> FailureRates:
            rates.append(failure_rates(*given))
            return rates[-1]

        def noting_choice(shares: strictness.PriceShares, *given: Any) -> tuple[Any, Any]:
            choices.append((shares, *choose(shares, *given)))
            return choices[-1][1:]

        patch.setattr(judge, "failure_rates", noting_rates)
        patch.setattr(strictness, "_choose", noting_choice)
        fleet = Fleet([0.0] * len(HOSTS))
        keys = tuple(map(DeploymentKey, fleet.names))
        prices = {key: float(price) for key, (_, price, _, _) in zip(keys, HOSTS, strict=True)}
        fleet.engine.observe_peers("g", keys, fleet.now, prices=prices)
        for name, (_, _, calls, bad) in zip(fleet.names, HOSTS, strict=True):
            fleet.feed(name, int(calls.replace(",", "")), int(bad))
        fleet.judge()
        self.rates = rates[-1]
        self.shares, self.strict, self.planned = choices[-1]
        verdicts = fleet.engine.snapshot.groups["g"].verdicts
        self.verdicts = {letter: verdicts[key] for letter, key in zip(LETTERS, keys, strict=True)}
        self.calls = (self.rates.within_ttl.calls / self.rates.phi)[0]
        self.bad = (self.rates.within_ttl.bad / self.rates.phi)[0]
        fleet.judge()
        reasons = fleet.engine.snapshot.groups["g"].verdicts[keys[LETTERS.index("e")]].reasons
        self.returns = next(one.strictness.acquits_below for one in reasons if one.strictness)
        """Rate below which e comes back, once it is deranked."""

    def reason(self, letter: str) -> Any:
        """What the verdict says about tool calls."""
        return next(one for one in self.verdicts[letter].reasons if one.signal == Signal.TOOL_CALL_SUCCESS)

    def measured(self) -> list[str]:
        """The first table: input, effective counts, and rates with their upper ends."""
        upper, wide = (wilson_upper(self.bad, self.calls, z) for z in (RULE.peer_z, RULE.convicting_z))
        return [
            f"| {letter} | {price} | {calls} | {bad} | {self.calls[at]:,.0f} | {self.bad[at]:.0f} | "
            f"{points(self.bad[at] / self.calls[at])} | {points(upper[at])} | {points(wide[at])} |"
            for at, (letter, price, calls, bad) in enumerate(HOSTS)
        ]

    def thresholds(self) -> list[str]:
        """The second table: the threshold of each, and the tail at it."""
        peers, limit = self.rates.peer_rates, self.rates.threshold[0]
        tail = upper_tail(self.bad, self.calls, limit)
        return [
            f"| {letter} | {points(peers.others.median[0, at])} | {points(peers.others.deviation[0, at])} | "
            f"{points(peers.near_best[0, at])} | {points(limit[at])} | {chance(tail[at])} | "
            f"{self.verdicts[letter].tier.value} |"
            for at, letter in enumerate(LETTERS)
        ]

    def steps(self, letter: str) -> list[str]:
        """The third table: the steps, what each convicts and costs."""
        limits, at = strictness._limits(self.rates)[:-1, 0], LETTERS.index(letter)
        rate = self.rates.within_ttl.rate()[0]
        rows = []
        for step, limit in zip(strictness.STEPS, limits, strict=True):
            pool = (rate <= limit)[np.newaxis]
            price = float(self.shares.mean_price(pool)[0, 0])
            bad = float(self.shares.mean_rate(rate[np.newaxis], pool)[0, 0])
            names = ", ".join(np.array(LETTERS)[pool[0]])
            rows.append(
                f"| {100 * step:g} | {points(limit[at])} | {names} | {price:.3f} | {points(bad)} | "
                f"{price + RULE.bad_call_price * bad:.3f} |"
            )
        return rows


def points(rate: float) -> str:
    """A rate as the page writes it."""
    return f"{100 * rate:.2f} %"


def chance(tail: float) -> str:
    """A tail as the page writes it."""
    return "1" if tail >= 1 else f"{tail:.2g}" if tail >= 1e-9 else "< 1e-9"


@pytest.fixture(scope="module")
def example() -> Example:
    """The page's example, judged."""
    with pytest.MonkeyPatch.context() as patch:
        return Example(patch)


def test_the_tables_are_the_engines(example: Example) -> None:
    """Every row, digit by digit."""
    rows = [*example.measured(), *example.thresholds(), *example.steps("e")]
    assert [row for row in rows if row not in PAGE] == []
    assert float(example.rates.phi[0, 0]) == RULE.phi_start == 2.0
    assert example.rates.peer_rates.case_mix[0].tolist() == pytest.approx([1.0] * 6)


def test_the_sentences_are_the_engines(example: Example) -> None:
    """Whom the text convicts, by which threshold, and what brings it back."""
    tiers = {letter: verdict.tier for letter, verdict in example.verdicts.items()}
    good, out = Tier.VERIFIED_GOOD, Tier.DERANKED
    assert tiers == {"a": good, "b": good, "c": good, "d": good, "e": out, "f": out}
    e, f = example.reason("e").strictness, example.reason("f").strictness
    assert (e.by_price, f.by_price) == (True, False)
    at = LETTERS.index("e")
    tail = float(upper_tail(example.bad[at : at + 1], example.calls[at : at + 1], np.array([e.convicts_above]))[0])
    assert f"The step chosen is {100 * e.step:g}" in TEXT
    assert f"against {points(e.convicts_above)} it is {chance(tail)}" in TEXT
    assert tail < RULE.convicting_tail * RULE.derank_tail_5min


def test_the_way_back_is_the_engines(example: Example) -> None:
    """Rate, calls and bad calls of the readmission."""
    calls = RULE.fresh_calls * float(example.rates.phi[0, 0])
    tails = [
        float(lower_tail(np.array([bad / 2]), np.array([calls / 2]), np.array([example.returns]))[0]) for bad in (0, 1)
    ]
    assert tails[0] < RULE.fresh_tail < tails[1]
    assert f"below {points(example.returns)}" in TEXT
    assert f"{calls:.0f} fresh calls without a bad one bring e back: P(X ≤ 0) is {chance(tails[0])}" in TEXT
    assert f"one bad one (half of it counts) {chance(tails[1])}, the limit is {RULE.fresh_tail:g}" in TEXT
