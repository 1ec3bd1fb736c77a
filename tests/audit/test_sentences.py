"""The answers to ``why`` say the numbers that decided, in words."""

from __future__ import annotations

import time
from datetime import UTC
from typing import Any

import pytest

from exacto_plugin.audit.formatting import duration, moment, moment_of, percent
from exacto_plugin.audit.incidents.bad_shares import as_bad
from exacto_plugin.audit.readmission import readmission_conditions
from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.core.model import DeploymentKey, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset
from exacto_plugin.core.tiers.openrouter import OpenRouterParameters
from exacto_plugin.core.views import reason_view
from tests.core.tiers.test_replay import WholeLedger
from tests.support.adaptive_fleets import Fleet

T = 1_800_000_000.0
REFERENCE = {"tool_call_success": {"median": 0.971, "mad": 0.004, "threshold": 0.941, "peers": 5}}


def reason(code: str, signal: str | None = "tool_call_success", **more: Any) -> dict[str, Any]:
    """One reason as the API writes it."""
    numbers = {"value": 0.8127, "threshold": 0.941, "samples": 212, "needed": 60, "window_s": 900.0, "peers": 0}
    return {"code": code, "signal": signal, **numbers, **more}


def view(tier: str, *reasons: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What the API says about one deployment."""
    found = {
        "deployment": "novita",
        "model_group": "kimi",
        "tier": tier,
        "since": T - 7800.0,
        "at": T,
        "measured_at": T,
        "reasons": list(reasons),
        "references": REFERENCE,
        "way_back": [],
    }
    return {**found, **more}


def test_how_often_such_verdicts_are_wrong() -> None:
    """Told where it was measured; not under an override, and not where it is unknown."""
    known = view("verified_good", reason("within_threshold"), wrong_one_in=1400)
    assert "In simulations at most about 1 of 1,400 such verdicts is wrong." in why_sentence(known, UTC)
    assert "simulations" not in why_sentence({**known, "wrong_one_in": None}, UTC)
    word = {"word": "good", "expires": T + 60, "reason": "trial", "measured_tier": None}
    assert "simulations" not in why_sentence({**known, "override": word}, UTC)


def test_a_common_cause_is_told_beside_the_tier() -> None:
    """With its begin and, once it is over, its end; it does not take the place of the tier's own reason."""
    rose = reason("common_cause", None, value=0.14, peers=8, begin=T, end=None)
    told = why_sentence(view("verified_good", reason("within_threshold"), rose), UTC)
    assert "within the threshold" in told
    assert (
        "The failure rate of all 8 deployments with enough calls is about 14 points higher since 2027-01-15 08:00"
        in told
    )
    told = why_sentence(view("deranked", reason("below_threshold"), {**rose, "end": T + 1500}), UTC)
    assert "worse than the threshold" in told
    assert "from 2027-01-15 08:00:00 to 08:25:00 UTC, and is over: a common cause" in told


@pytest.mark.parametrize(
    ("convicts", "acquits", "told"),
    [
        (0.01496, 0.01503, "above 1.496 % bad calls; fresh calls below 1.503 % bring it back"),
        (0.0149, 0.0351, "above 1.49 % bad calls; fresh calls below 3.51 % bring it back"),
        (0.0149, 0.0149, "above 1.49 % bad calls; fresh calls below that bring it back"),
    ],
)
def test_thresholds_that_differ_are_told_differently(convicts: float, acquits: float, told: str) -> None:
    """With as many digits as tell them apart, a rate and its threshold as well."""
    step = {"step": 0.005, "cost": 0.02, "saves": 0.001}
    choice = {"step": 0.01, "convicts_above": convicts, "acquits_below": acquits, "next_step": step, "by_price": True}
    out = reason("below_threshold", value=0.98497, threshold=0.98504, strictness=choice)
    sentence = why_sentence(view("deranked", out), UTC)
    assert f"Only the price of a bad call deranks it, {told}" in sentence
    other = why_sentence(view("verified_good", {**out, "strictness": {**choice, "by_price": False}}), UTC)
    assert "It would be deranked above 1.49" in other
    assert "A stricter limit, 0.5 instead of 1 points above the second best, would cost" in sentence
    nothing = {**choice, "next_step": {"step": 0.005, "cost": 0.0, "saves": 0.0}}
    assert "stricter" not in why_sentence(view("deranked", {**out, "strictness": nothing}), UTC)
    assert "is 98.497 % (212 calls), worse than the threshold 98.504 %" in sentence
    fresh = {"kind": "fresh_calls", "calls": 300, "bad_at_most": 5, "so_far": 0.0, "probe_share": None}
    remembered = why_sentence(view("deranked", out, way_back=[fresh]), UTC)
    assert (
        "a tool-call success of 98.497 % (212 calls within 15 min), worse than the threshold, now 98.504 %"
        in remembered
    )


@pytest.mark.parametrize(
    ("acquits", "told"),
    [
        (0.0351, "deranked above 1.49 % bad calls where their price convicts, above 3.51 % in any case. A stricter"),
        (0.0149, "deranked above 1.49 % bad calls. A stricter"),
    ],
)
def test_both_thresholds_of_a_serving_deployment_convict(acquits: float, told: str) -> None:
    """The stricter one by price, the usual one in any case; a rate between both is not told to be acquitted."""
    step = {"step": 0.005, "cost": 0.02, "saves": 0.001}
    choice = {"step": 0.01, "convicts_above": 0.0149, "acquits_below": acquits, "next_step": step, "by_price": False}
    sentence = why_sentence(view("verified_good", reason("within_threshold", strictness=choice)), UTC)
    assert told in sentence
    assert "acquit" not in sentence


def test_ids_of_runs_are_short() -> None:
    """The first 12 digits, in every sentence that names a run."""
    run = "3f9a" * 16
    score = {
        "benchmark": "airline",
        "score": 0.5,
        "error": None,
        "share": None,
        "standing": "reference",
        "against": None,
    }
    scores = [{**score, "tasks": 50, "runs": 1, "run": run}]
    replayed = reason("within_threshold", "verifier", run=run)
    benchmark = reason("within_threshold", "benchmark", run=run)
    references = {"benchmark": {"median": 0.5, "mad": None, "threshold": 0.4, "peers": 5}}
    more = {"references": references, "benchmarks": {"scores": scores, "refused": []}}
    for shown in (view("verified_good", replayed, **more), view("verified_good", benchmark, **more)):
        told = why_sentence(shown, UTC)
        assert run[:13] not in told
        assert told.count(run[:12]) == 2


def test_a_derank_says_every_number() -> None:
    """Value, threshold, median, MAD, sample size, window, peers, since when, and what would bring it back."""
    fresh = {
        "kind": "fresh_calls",
        "calls": 300,
        "bad_at_most": 5,
        "so_far": 40.0,
        "so_far_bad": 1.0,
        "probe_share": 0.02,
        "next_trial_at": None,
    }
    told = why_sentence(view("deranked", reason("below_threshold"), way_back=[fresh]), UTC)
    assert told == (
        "novita is deranked in kimi since 2027-01-15 05:50:00 UTC (2 h 10 min). It was deranked for a tool-call "
        "success of 81.3 % (212 calls within 15 min), worse than the threshold, now 94.10 % (all 5 with enough data: "
        "median 97.10 %, MAD 0.40 %). It comes back after 300 fresh calls with at most 5 bad ones; where tiers are "
        "applied, probes (up to 2.00 % of the requests with tools) provide them; so far there were 40, of which 1 bad."
    )


@pytest.mark.parametrize(
    ("takes_d", "expected"),
    [
        (
            5,
            " With the present traffic that takes about 5 days;"
            " `exacto override DEPLOYMENT good --for 2h --reason TEXT` brings it back at once.",
        ),
        (
            9,
            " With the present traffic that takes about 9 days, longer than calls are kept (7 d), so it does not come"
            " back by itself; `exacto override DEPLOYMENT good --for 2h --reason TEXT` brings it back at once.",
        ),
    ],
)
def test_a_way_back_of_days_is_told_with_a_shorter_one(takes_d: float, expected: str) -> None:
    """Arithmetic of little traffic is no riddle for an operator."""
    fresh = {
        "kind": "fresh_calls",
        "calls": 300,
        "bad_at_most": 5,
        "so_far": 0.0,
        "so_far_bad": 0.0,
        "probe_share": 0.1,
        "next_trial_at": None,
        "takes_s": takes_d * 86_400.0,
        "kept_s": 604_800.0,
    }
    told = why_sentence(view("deranked", reason("below_threshold"), way_back=[fresh]), UTC)
    assert told.endswith(f"provide them.{expected}")


@pytest.mark.parametrize(
    ("tier", "reasons", "expected"),
    [
        ("deranked", [reason("below_threshold", "throughput", value=9.5, threshold=31.0)], "9.5 tokens/s"),
        ("insufficient_data", [reason("too_few_samples", samples=1)], "(1 call; 60 are needed)"),
        ("insufficient_data", [reason("too_few_peers", peers=1, needed=2)], "there are 1; it takes more calls"),
        ("insufficient_data", [reason("undecided")], "to decide."),
        ("insufficient_data", [reason("capacity")], "could not carry the traffic"),
        (
            "insufficient_data",
            [reason("probably_bad", chance=0.002, traffic_share=0.0021)],
            "MAD 0.40 %): probably bad: 0.20 % chance of being within the threshold, 0.21 % of the traffic.",
        ),
        ("insufficient_data", [reason("probably_bad")], ": probably bad."),
        (
            "insufficient_data",
            [reason("capacity"), reason("capacity", "refused", value=0.12, threshold=None, window_s=300.0)],
            "traffic without it. It is kept because a better deployment refused 12.0 % of its requests within 5 min.",
        ),
        (
            "verified_good",
            [reason("within_threshold"), reason("learned_capacity", "capacity", value=40.0, threshold=None)],
            "It can carry about 40 requests a minute, which is learned from its 429s and rate-limit headers.",
        ),
        ("verified_good", [reason("within_threshold", value=1.0)], "100.0 % (212 calls), within the threshold"),
        ("verified_good", [reason("readmitted")], "fresh calls showed that it works again"),
        ("verified_good", [reason("evidence_restarted")], "suddenly became better"),
        ("verified_good", [reason("some_code_of_tomorrow")], "81.3 % (212 calls), threshold 94.10 %"),
    ],
)
def test_every_reason_has_words(tier: str, reasons: list[dict[str, Any]], expected: str) -> None:
    """Whatever a rule says can be said, codes of later versions included."""
    assert expected in why_sentence(view(tier, *reasons), UTC)


def test_one_sentence_is_said_once() -> None:
    """Calls and other signals may all have too few samples; the doubt about the calls is one."""
    few = reason("too_few_samples", value=0.826, threshold=0.963, samples=69, needed=100)
    missing = [
        {"kind": "samples", "signal": signal, "have": 69, "needed": 100}
        for signal in ("tool_call_success", "throughput", "propensity")
    ]
    told = why_sentence(view("insufficient_data", few, way_back=missing), UTC)
    assert told.count("So far it is worse than the threshold of 96.30 %") == 1


def test_flaws_are_counted_since_the_start_of_a_process() -> None:
    """A program without a proxy reads it too."""
    assert "since the start of this process: 2 with" in why_sentence(view("deranked", flaws={"invalid_json": 2}), UTC)


def test_too_few_calls_that_are_bad_so_far() -> None:
    """More calls of the same kind verify nobody, so they are not named as the way to it; good ones so far are."""
    missing = {"kind": "samples", "signal": "tool_call_success", "have": 69, "needed": 100}
    few = reason("too_few_samples", value=0.826, threshold=0.963, samples=69, needed=100)
    told = why_sentence(view("insufficient_data", few, way_back=[missing]), UTC)
    assert told.endswith(
        "So far it is worse than the threshold of 96.30 %: without more good calls it is not verified, and more bad"
        " ones derank it."
    )
    assert "would verify it" not in told
    good = why_sentence(view("insufficient_data", {**few, "value": 0.99}, way_back=[missing]), UTC)
    assert good.endswith("31 calls more and few enough bad ones among them would verify it.")


def test_what_all_say_is_not_told_as_what_the_others_say() -> None:
    """Where the threshold is of the others only, the sentence says so; a benchmark has a baseline, and no peers."""
    adaptive = view("deranked", reason("below_threshold"), preset="adaptive")
    assert "(all 5 with enough data: median 97.10 %, MAD 0.40 %, estimated cautiously; its threshold follows" in (
        why_sentence(adaptive, UTC)
    )
    published = why_sentence({**adaptive, "preset": "openrouter"}, UTC)
    assert "(all 5 with enough data: median 97.10 %, MAD 0.40 %)" in published
    references = {
        "throughput": {"median": 60.0, "mad": 5.0, "threshold": 30.0, "peers": 4},
        "benchmark": {"median": 0.8, "mad": None, "threshold": 0.7, "peers": 3},
    }
    for signal, expected in (
        ("throughput", "(all 4 with enough data: median 60 tokens/s, MAD 5 tokens/s; its threshold follows from"),
        ("benchmark", "(baseline 80.0 %)"),
    ):
        told = {**adaptive, "references": references, "reasons": [reason("below_threshold", signal)]}
        assert expected in why_sentence(told, UTC)
    few = view("insufficient_data", reason("too_few_peers", peers=2, needed=4), preset="adaptive")
    expected = "To compare its tool-call success takes 4 deployments with enough data, itself included; there are 2;"
    assert expected in why_sentence(few, UTC)


def test_a_past_answer_says_when_it_was_and_when_it_was_measured() -> None:
    """Asked about last Tuesday, the answer is about then, and does not pretend to be newer than its numbers."""
    told = why_sentence(view("deranked", reason("below_threshold"), past=True, measured_at=T - 900), UTC)
    assert told.startswith("At 2027-01-15 08:00:00 UTC novita was deranked in kimi since ")
    assert "was 81.3 %" in told
    assert told.endswith("The numbers are those of 2027-01-15 07:45:00 UTC, when they were last put on record.")


def test_numbers_that_are_not_of_now_are_not_told_as_if_they_were() -> None:
    """Without a time in the question, too: old numbers are told in the past tense and dated, older counts twice."""
    fresh = {"kind": "fresh_calls", "calls": 300, "bad_at_most": 5, "so_far": 40.0, "so_far_bad": 1.0}
    fresh = {**fresh, "so_far_at": T - 900, "probe_share": 0.02, "next_trial_at": T - 60}
    told = why_sentence(view("deranked", reason("below_threshold"), measured_at=T - 900, way_back=[fresh]), UTC)
    assert told.startswith("novita is deranked in kimi since ")
    assert "worse than the threshold, then 94.10 %" in told
    assert "; so far there were 40, of which 1 bad. The numbers are those of 2027-01-15 07:45:00 UTC" in told
    live = why_sentence(view("deranked", reason("below_threshold"), measured_at=None, way_back=[fresh]), UTC)
    assert "now 94.10 %" in live
    assert "; until 2027-01-15 07:45:00 UTC there were 40, of which 1 bad." in live
    waiting = {**fresh, "so_far": 0.0}
    for trial, expected in ((T - 60, False), (T + 7200, True)):
        for condition in (waiting, fresh):
            condition = {**condition, "next_trial_at": trial}
            told = why_sentence(view("deranked", reason("below_threshold"), way_back=[condition]), UTC)
            assert ("the next of which begins at 2027-01-15 10:00:00 UTC (in 2 h)" in told) is expected


def test_probes_are_told_with_both_limits() -> None:
    """The larger one holds only while a trial goes well."""
    fresh = {"kind": "fresh_calls", "calls": 300, "bad_at_most": 0, "so_far": 0.0, "so_far_bad": 0.0}
    for usual, expected in (
        (0.02, "(up to 2.00 % of the requests with tools, 10.0 % while"),
        (0.1, "(up to 10.0 % of"),
    ):
        condition = {**fresh, "probe_share": 0.1, "usual_share": usual}
        assert expected in why_sentence(view("deranked", reason("below_threshold"), way_back=[condition]), UTC)


def test_an_override_is_said_first() -> None:
    """Who was told to be good is not explained by its measurements, though they are told too."""
    word = {"word": "good", "reason": "vendor is fixed", "expires": T + 60, "measured_tier": "deranked"}
    told = why_sentence(view("verified_good", reason("below_threshold"), override=word), UTC)
    assert "because of an operator's override to good until 2027-01-15 08:01:00 UTC (“vendor is fixed”)" in told
    assert "by its measurements it would be deranked" in told


def test_what_brings_a_deployment_back_is_what_the_rule_asks_for() -> None:
    """With the calls and the bad ones that the answer names the rule readmits; with a few bad ones more it does not."""
    fleet = Fleet([0.01, 0.01, 0.01, 0.3])
    engine = fleet.engine
    ledger = engine.change_detector = WholeLedger()

    def asked() -> dict[str, Any]:
        verdict = engine.snapshot.groups["g"].verdicts[DeploymentKey("d3")]
        told = [reason_view(one) for one in verdict.reasons]
        (condition,) = readmission_conditions(engine.rule, ledger.changes[0].inputs(), "d3", verdict.tier, told)
        return condition

    while fleet.tiers.get("d3") is not Tier.DERANKED:
        for name, bad in zip(fleet.names, (1, 1, 1, 30), strict=True):
            fleet.feed(name, 100, bad)
        fleet.judge()
    condition = asked()
    assert isinstance(engine.rule, AdaptivePreset)
    first = condition["next_trial_at"]
    assert first == ledger.changes[0].inputs().reading.times[0] + engine.rule.rule.burst_pause_s, (
        "known with the derank"
    )
    assert "takes_s" not in condition
    assert condition["so_far"] == 0
    assert condition["bad_at_most"] > 0
    fleet.feed("d3", condition["calls"], condition["bad_at_most"] + 4)
    fleet.judge()
    assert fleet.tiers["d3"] is Tier.DERANKED
    later = asked()
    assert later["next_trial_at"] == first, "as the rule plans it"
    assert (later["so_far"], later["so_far_bad"]) == (condition["calls"], condition["bad_at_most"] + 4)
    fleet.feed("d3", later["calls"], later["bad_at_most"])
    fleet.judge()
    assert fleet.tiers["d3"] is not Tier.DERANKED


def test_a_long_way_back_is_told_from_the_traffic() -> None:
    """A tenth of 460 calls a day: a trial takes as many days as it needs 46 calls."""
    fleet = Fleet([0.0, 0.0, 0.3])
    ledger = fleet.engine.change_detector = WholeLedger()
    for name, bad in zip(fleet.names, (0, 0, 40), strict=True):
        fleet.feed(name, 200, bad)
    assert fleet.judge()["d2"] is Tier.DERANKED
    fleet.judge(2 * 86_400.0)
    fleet.feed("d0", 460, 0)
    fleet.judge(2 * 3600.0)
    verdict = fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey("d2")]
    told = [reason_view(one) for one in verdict.reasons]
    (condition,) = readmission_conditions(fleet.engine.rule, ledger.changes[0].inputs(), "d2", verdict.tier, told)
    assert condition["takes_s"] == pytest.approx(86_400.0 * condition["calls"] / 46.0)
    assert condition["kept_s"] == 7 * 86_400.0


def test_the_published_rule_asks_for_the_threshold() -> None:
    """It has no memory: whoever is above the threshold again is back."""
    told = readmission_conditions(OpenRouterParameters(), None, "novita", "deranked", [reason("below_threshold")])
    assert told == [{"kind": "threshold", "signal": "tool_call_success", "above": 0.941}]
    assert "as soon as its tool-call success is 94.10 % or better" in why_sentence(
        view("deranked", reason("below_threshold"), way_back=told), UTC
    )


def test_numbers_are_written_as_people_read_them() -> None:
    """Durations in two units, shares with the decimals that matter."""
    assert [duration(s) for s in (0, 59, 60, 3600, 7800, 90_000, 259_200)] == [
        "0 s", "59 s", "1 min", "1 h", "2 h 10 min", "1 d 1 h", "3 d",
    ]  # fmt: skip
    assert [percent(share) for share in (0.0, 0.004, 0.5, 0.9986, 1.0)] == [
        "0.0 %", "0.40 %", "50.0 %", "99.86 %", "100.0 %",
    ]  # fmt: skip


def test_times_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's zone unless another is given; a bare clock time is today's."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        now = moment_of("2026-11-17 15:00", 0.0)
        assert now == moment_of("2026-11-17T14:00:00Z", 0.0)
        assert moment(now) == "2026-11-17 15:00:00 CET"
        assert moment_of("15:30", now) == now + 1800
    finally:
        monkeypatch.undo()
        time.tzset()
    with pytest.raises(ValueError, match="not a time"):
        moment_of("last Tuesday", 0.0)


@pytest.mark.parametrize(
    ("tier", "code", "words"),
    [
        ("verified_good", "within_threshold", "Its share of bad tool calls over the last 15 min is 18.7 % (212 calls)"),
        (
            "deranked",
            "below_threshold",
            "Its share of bad tool calls over the last 15 min is 18.7 % (212 calls), worse",
        ),
    ],
)
def test_the_page_tells_shares_of_bad_calls(tier: str, code: str, words: str) -> None:
    """Values, thresholds and medians, where programs and the command line tell the success."""
    shown = view(tier, reason(code))
    told = why_sentence(as_bad(shown), UTC)
    assert words in told
    assert "threshold 5.90 % (all 5 with enough data: median 2.90 %" in told
    assert "success" not in told
    assert "tool-call success" in why_sentence(shown, UTC)


def test_too_few_calls_are_compared_alike() -> None:
    """A share of bad calls above the threshold is worse, as a success below it."""
    worse = view("insufficient_data", reason("too_few_samples", value=0.8, threshold=0.94))
    better = view("insufficient_data", reason("too_few_samples", value=0.99, threshold=0.94))
    for each, expected in ((worse, True), (better, False)):
        conditions = [{"kind": "samples", "signal": "tool_call_success", "have": 5, "needed": 20}]
        for shown in ({**each, "way_back": conditions}, as_bad({**each, "way_back": conditions})):
            assert ("So far it is worse than the threshold" in why_sentence(shown, UTC)) is expected


def test_a_tier_that_just_began_has_no_duration() -> None:
    """The evidence of a derank is that of its own moment."""
    past = {**view("deranked", reason("below_threshold")), "past": True, "since": T}
    assert why_sentence({**past, "at": T}, UTC).startswith("At 2027-01-15 08:00:00 UTC novita was deranked in kimi. ")
    assert "(0 s)" not in why_sentence({**past, "past": False, "at": T}, UTC)


def test_the_calls_of_a_past_way_back_are_by_its_numbers() -> None:
    """They change with the measured clustering of the errors."""
    fresh = {"kind": "fresh_calls", "calls": 169, "bad_at_most": 1, "so_far": 0.0, "probe_share": None}
    past = {**view("deranked", reason("below_threshold"), way_back=[fresh]), "past": True}
    assert "By the numbers of then it comes back after 169 fresh calls" in why_sentence(past, UTC)
