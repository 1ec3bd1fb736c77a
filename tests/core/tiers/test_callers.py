"""Callers and verdicts: what one account, its keys, and slow answers of one caller can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from tests.support.samples import START, tiers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES = tuple(map(DeploymentKey, "abcd"))


def judged(senders: Sequence[tuple[str, str, int, float, float]]) -> Mapping[str, Tier]:
    """Tiers after an hour.

    Args:
        senders: key, account, calls at each deployment, share of bad calls at ``a``, and seconds of an answer there.
    """
    engine = Engine(AdaptivePreset())
    engine.observe_peers("g", NAMES, START)
    for key, account, calls, share, seconds in senders:
        for name in NAMES:
            for number in range(calls):
                is_bad = name == "a" and number < share * calls
                engine.record(
                    Sample(
                        "g",
                        name,
                        START + 3600.0 * number / calls,
                        tools_offered=True,
                        outcome=Outcome.SCHEMA_MISMATCH if is_bad else Outcome.VALID,
                        output_tokens=200,
                        duration_s=seconds if name == "a" else 4.0,
                        caller=key,
                        account=account,
                    )
                )
    engine.recompute(START + 3660)
    return tiers_of(engine)


Sender = tuple[str, str, int, float, float]

HONEST: list[Sender] = [(f"key-{number}", f"user-{number}", 60, 0.0, 4.0) for number in range(10)]


def test_keys_of_one_account_do_not_derank_together() -> None:
    """However many keys a user makes; without accounts as many keys would."""
    many = [(f"evil-{number}", "evil", 60, 1.0, 4.0) for number in range(12)]
    assert judged([*HONEST, *many])["a"] is not Tier.DERANKED
    assert judged([*HONEST, *((one[0], "", *one[2:]) for one in many)])["a"] is Tier.DERANKED


def test_keys_of_one_organisation_are_limited_within_it() -> None:
    """Where it is the only account."""
    alike: list[Sender] = [(one[0], "the organisation", *one[2:]) for one in HONEST]
    assert judged([*alike, ("evil", "the organisation", 600, 1.0, 4.0)])["a"] is not Tier.DERANKED
    assert judged([(key, account, calls, 0.25, 4.0) for key, account, calls, *_ in alike])["a"] is Tier.DERANKED


def test_what_four_of_ten_callers_see_deranks() -> None:
    """What two of them see does not."""
    hurt = [(key, account, calls, 0.25, 4.0) for key, account, calls, *_ in HONEST]
    assert judged([*HONEST[4:], *hurt[:4]])["a"] is Tier.DERANKED
    assert judged([*HONEST[2:], *hurt[:2]])["a"] is not Tier.DERANKED


def test_a_single_account_with_a_single_key_counts_in_full() -> None:
    """There is nobody to protect."""
    assert judged([("key", "user", 400, 0.25, 4.0)])["a"] is Tier.DERANKED


def test_slow_answers_of_one_caller_do_not_derank() -> None:
    """However many they are; a deployment that is slow for everybody is found."""
    assert judged([*HONEST, ("evil", "evil", 1500, 0.0, 60.0)])["a"] is not Tier.DERANKED
    slow = [(key, account, calls, 0.0, 60.0) for key, account, calls, *_ in HONEST]
    assert judged(slow)["a"] is Tier.DERANKED
