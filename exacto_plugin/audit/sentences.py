"""The sentences of ``why``: tiers, numbers against thresholds, and readmission.

Works on the plain data of the API, so that a client can use its own time zone. Looks nothing up.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.answer_sentences import answer_sentences, benchmark_sentences
from exacto_plugin.audit.common_cause_sentences import common_cause_sentence
from exacto_plugin.audit.formatting import (
    TIER_WORDS,
    counted,
    duration,
    moment,
    name_of,
    percent,
    run_name,
    suspicion,
    value,
    values_apart,
    window,
)
from exacto_plugin.core.model import ReasonCode, Signal, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

_UNSEEN = 0.00005
"""Share that is printed as 0.00 %."""


def why_sentence(view: Mapping[str, Any], zone: tzinfo | None = None) -> str:
    """Explain the tier of a deployment in sentences.

    Args:
        view: the API's data of one deployment at one time.
        zone: of the times; None for the user's.
    """
    asked, past = view["at"], view.get("past", False)
    tense = "was" if past else "is"
    since = view["since"]
    begin = f"{view['deployment']} {tense} {TIER_WORDS.get(view['tier'], view['tier'])} in {view['model_group']}"
    if past:
        begin = f"At {moment(asked, zone)} {begin}"
    if since and (not past or asked - since >= 1.0):
        begin += f" since {moment(since, zone)}{f' ({duration(asked - since)})' if asked - since >= 1.0 else ''}"
    override = view.get("override")
    parts = [f"{begin}{_override_sentence(override, zone) if override else ''}."]
    measured = view.get("measured_at")
    aged = measured is not None and abs(asked - measured) > _FRESH_S
    old = past or aged
    parts += _reason_sentences(view, zone, past=old)
    parts += [*answer_sentences(view, zone), *benchmark_sentences(view, zone)]
    if not override and (wrong := view.get("wrong_one_in")):
        parts.append(f"In simulations at most about 1 of {wrong:,} such verdicts is wrong.")
    conditions = () if override else view.get("way_back", ())
    doubtful = _below_so_far(view)
    parts += [
        one
        for condition in conditions
        if (
            one := doubtful
            if condition["kind"] == "samples" and doubtful
            else _condition(condition, asked, measured, zone, past=past)
        )
    ]
    if measured is not None and aged and view["reasons"]:
        stale = " Nothing newer is on record." if view.get("stale") else ""
        parts.append(f"The numbers are those of {moment(measured, zone)}, when they were last put on record.{stale}")
    # Several numbers may have too few calls for one and the same reason.
    return " ".join(dict.fromkeys(part for part in parts if part))


def _reason_sentences(view: Mapping[str, Any], zone: tzinfo | None, *, past: bool) -> list[str]:
    """Return sentences of the deciding reasons, the step and a common cause."""
    override = view.get("override")
    common = [reason for reason in view["reasons"] if reason["code"] == ReasonCode.COMMON_CAUSE]
    learned = [reason for reason in view["reasons"] if reason["code"] == ReasonCode.LEARNED_CAPACITY]
    replayed = [reason for reason in view["reasons"] if reason["signal"] == Signal.VERIFIER]
    others = [reason for reason in view["reasons"] if reason not in (*common, *learned, *replayed)]
    reasons = _deciding(view["tier"], others) if not override else others
    # The adaptive rule keeps the numbers of the derank; only fresh calls count from then on.
    fresh = view.get("numbers_of_derank", False) or any(
        condition["kind"] == "fresh_calls" for condition in view.get("way_back", ())
    )
    parts = [
        _remembered(reason, _among(reason, view), past=past)
        if fresh and reason["code"] == ReasonCode.BELOW_THRESHOLD and reason["signal"] == Signal.TOOL_CALL_SUCCESS
        else _reason(reason, _among(reason, view), past=past)
        for reason in reasons
    ]
    if not override:
        parts += [_step(reason["strictness"], view["tier"]) for reason in reasons if reason.get("strictness")]
    parts += [_verifier_sentence(reason) for reason in replayed]
    parts += [_capacity_sentence(reason, past=past) for reason in learned]
    parts += [common_cause_sentence(reason, zone) for reason in common]
    return parts


_COMMAND = "exacto bench run verifier --deployment {}"
_OVERRIDE = "`exacto override DEPLOYMENT good --for 2h --reason TEXT` brings it back at once."


def _below_so_far(view: Mapping[str, Any]) -> str:
    """Return a sentence on too few calls that are worse than the threshold."""
    for reason in view["reasons"]:
        few = reason["code"] == ReasonCode.TOO_FEW_SAMPLES and reason["signal"] == Signal.TOOL_CALL_SUCCESS
        known = reason["value"] is not None and reason["threshold"] is not None
        is_worse = known and (reason["value"] < reason["threshold"]) != bool(reason.get("is_bad"))
        if few and is_worse and reason["value"] != reason["threshold"]:
            return (
                f"So far it is worse than the threshold of {value(reason['signal'], reason['threshold'])}: without more"
                " good calls it is not verified, and more bad ones derank it."
            )
    return ""


_FRESH_S = 1.0
"""Seconds of age from which numbers are dated."""


def _override_sentence(override: Mapping[str, Any], zone: tzinfo | None) -> str:
    measured = override.get("measured_tier")
    reason = f" (“{override['reason']}”)" if override["reason"] else ""
    shown = f"; by its measurements it would be {TIER_WORDS.get(measured, measured)}" if measured else ""
    return (
        f" because of an operator's override to {override['word']} until {moment(override['expires'], zone)}"
        f"{reason}{shown}"
    )


def _deciding(tier: str, reasons: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the reasons that explain the tier; all reasons if none does."""
    wanted: dict[str, tuple[ReasonCode, ...]] = {
        Tier.DERANKED: (ReasonCode.BELOW_THRESHOLD,),
        Tier.INSUFFICIENT_DATA: (
            ReasonCode.CAPACITY,
            ReasonCode.PROBABLY_BAD,
            ReasonCode.TOO_FEW_SAMPLES,
            ReasonCode.TOO_FEW_PEERS,
            ReasonCode.UNDECIDED,
        ),
    }
    found = [reason for reason in reasons if reason["code"] in wanted.get(tier, ())]
    # Tool calls decide about tiers; other signals are reasons only for what they decide.
    telling = (Signal.TOOL_CALL_SUCCESS, Signal.REFUSED)
    calls = [reason for reason in found or reasons if reason["signal"] in telling]
    return found if tier == Tier.DERANKED and found else calls or list(found or reasons)


def _reason(reason: Mapping[str, Any], among: str, *, past: bool) -> str:
    """Describe one number against its threshold."""
    signal, code = reason["signal"], reason["code"]
    if signal is None:
        return ""
    if signal == Signal.REFUSED:
        share, within = value(signal, reason["value"]), duration(reason["window_s"])
        verb = "was" if past else "is"
        return f"It {verb} kept because a better deployment refused {share} of its requests within {within}."
    verb = "was" if past else "is"
    measured, limit = values_apart(signal, reason["value"], reason["threshold"])
    subject = f"Its {_name(reason)} over {window(reason['window_s'])} {verb} {measured}"
    sample = counted(signal, reason["samples"])
    if code == ReasonCode.TOO_FEW_PEERS:
        peers = f"{reason['needed']} deployments with enough data, itself included; there {'were' if past else 'are'}"
        remedy = "it takes more calls of the others, or another deployment of the model group"
        return f"To compare its {_name(reason)} takes {peers} {reason['peers']}; {remedy}."
    if code == ReasonCode.TOO_FEW_SAMPLES:
        return f"{subject} ({sample}; {reason['needed']} are needed)."
    against = f"threshold {limit}{among}"
    if code == ReasonCode.PROBABLY_BAD:
        return f"{subject} ({sample}), {against}: {suspicion(reason)}."
    phrases: dict[str, str] = {
        ReasonCode.BELOW_THRESHOLD: f"{subject} ({sample}), worse than the {against}.",
        ReasonCode.WITHIN_THRESHOLD: f"{subject} ({sample}), within the {against}.",
        ReasonCode.UNDECIDED: f"{subject} ({sample}), too close to the {against} to decide.",
        ReasonCode.READMITTED: f"{subject} ({sample}), {against}: fresh calls showed that it works again.",
        ReasonCode.EVIDENCE_RESTARTED: f"{subject} ({sample}), {against}: it suddenly became better, "
        "so older calls no longer count.",
        ReasonCode.CAPACITY: f"{subject} ({sample}), worse than the {against}, but the others could not carry "
        "the traffic without it.",
    }
    return phrases.get(code, f"{subject} ({sample}), {against}.")


def _name(one: Mapping[str, Any]) -> str:
    """Return the name of the signal of a reason or condition; see ``bad_shares``."""
    return "share of bad tool calls" if one.get("is_bad") else name_of(str(one["signal"]))


def _capacity_sentence(reason: Mapping[str, Any], *, past: bool) -> str:
    """Describe what a deployment can carry, where nothing is declared."""
    carries = value(reason["signal"], reason["value"])
    return (
        f"It can carry about {carries}, which {'was' if past else 'is'} learned from its 429s and rate-limit headers."
    )


_FINDINGS: Mapping[str, str] = {
    ReasonCode.BELOW_THRESHOLD: "worse than its limit of {limit}: flagged",
    ReasonCode.WITHIN_THRESHOLD: "within its limit of {limit}: cleared",
    ReasonCode.READMITTED: "within its limit of {limit}, which readmitted it",
    ReasonCode.UNDECIDED: "too close to its limit of {limit} to decide",
}


def _verifier_sentence(reason: Mapping[str, Any]) -> str:
    """Describe the result of a run of the verifier."""
    signal = reason["signal"]
    result = _FINDINGS.get(reason["code"], "limit {limit}").format(limit=value(signal, reason["threshold"]))
    measured = f"{value(signal, reason['value'])} of {counted(signal, reason['samples'])}"
    return f"In the verifier's run {run_name(str(reason.get('run')))} {measured} were good, {result}."


def _remembered(reason: Mapping[str, Any], among: str, *, past: bool) -> str:
    """Describe the numbers of the derank against the threshold since."""
    signal = reason["signal"]
    sample = f"{counted(signal, reason['samples'])} within {duration(reason['window_s'])}"
    measured, limit = values_apart(signal, reason["value"], reason["threshold"])
    against = f"the threshold, {'then' if past else 'now'} {limit}{among}"
    return f"It was deranked for a {_name(reason)} of {measured} ({sample}), worse than {against}."


def _step(chosen: Mapping[str, Any], tier: str) -> str:
    """Describe the step of the thresholds, and what the next one would change.

    The threshold that acquits verifies; once deranked, fresh calls are compared with it instead.
    """
    after = chosen["next_step"]
    cost = f"cost {percent(abs(after['cost']))} {'more' if after['cost'] >= 0 else 'less'}"
    saves = max(0.0, after["saves"])
    above, below = values_apart(Signal.TOOL_CALL_SUCCESS, chosen["convicts_above"], chosen["acquits_below"])
    if tier != Tier.DERANKED:
        limits = f"It would be deranked above {above} bad calls"
        limits += "." if above == below else f" where their price convicts, above {below} in any case."
    else:
        limits = "Only the price of a bad call deranks it," if chosen["by_price"] else "The price alone would derank it"
        limits += f" above {above} bad calls; fresh calls below {'that' if above == below else below} bring it back."
    if saves < _UNSEEN and abs(after["cost"]) < _UNSEEN:
        return limits
    steps = f"{_points(after['step'], unit=False)} instead of {_points(chosen['step'])}"
    return f"{limits} A stricter limit, {steps} above the second best, would {cost} and save {_points(saves)}."


def _points(rate: float, *, unit: bool = True) -> str:
    """Format a difference of rates in percentage points.

    >>> _points(0.0025)
    '0.25 points'
    """
    return f"{100 * rate:.2g}{' points' if unit else ''}"


def _among(reason: Mapping[str, Any], view: Mapping[str, Any]) -> str:
    """Describe a signal's reference over all deployments, in brackets.

    With the adaptive rule it also notes that the threshold comes from the other deployments only.
    """
    signal = str(reason["signal"])
    reference = view["references"].get(signal)
    if reference is None or reference["median"] is None:
        return ""
    if signal == Signal.BENCHMARK:
        run = f"; its latest run is {run_name(reason['run'])}" if reason.get("run") else ""
        return f" (baseline {value(signal, reference['median'])}{run})"
    spread = "" if reference["mad"] is None else f", MAD {value(signal, reference['mad'])}"
    summary = f"all {reference['peers']} with enough data: median {value(signal, reference['median'])}{spread}"
    if view.get("preset") == "adaptive":
        cautious = ", estimated cautiously" if signal == Signal.TOOL_CALL_SUCCESS else ""
        summary += f"{cautious}; its threshold follows from the others"
    return f" ({summary})"


def _condition(
    condition: Mapping[str, Any], at: float, measured: float | None, zone: tzinfo | None, *, past: bool
) -> str:
    """Describe a condition of readmission.

    ``measured`` is the date of numbers without a date of their own; None: ``asked``.
    """
    kind, signal = condition["kind"], str(condition.get("signal"))
    if kind == "run":
        return f"`{_COMMAND.format(shlex.quote(condition['deployment']))}` decides anew within minutes."
    if kind == "fresh_calls":
        return _fresh_calls(condition, at, at if measured is None else measured, zone, past=past)
    if kind == "speed":
        return (
            f"It comes back with {condition['answers']} answers within an hour at a median above "
            f"{value(Signal.THROUGHPUT, condition['above'])}."
        )
    if kind == "threshold":
        return f"It comes back as soon as its {_name(condition)} is {value(signal, condition['above'])} or better."
    if kind == "samples" and signal == Signal.TOOL_CALL_SUCCESS:
        left = max(0, condition["needed"] - condition["have"])
        return f"{counted(signal, left)} more and few enough bad ones among them would verify it." if left else ""
    if kind == "certainty":
        return "More calls are needed to decide; where tiers are applied, probes provide them."
    return ""


def _fresh_calls(condition: Mapping[str, Any], at: float, dated: float, zone: tzinfo | None, *, past: bool) -> str:
    at_most = condition["bad_at_most"]
    if at_most is None:
        return (
            f"Not even {condition['calls']} fresh calls without a bad one would bring it back: its peers are too good."
        )
    share = condition["probe_share"]
    limit = f"at most {at_most} bad one{'' if at_most == 1 else 's'}" if at_most else "none of them bad"
    usual = condition.get("usual_share", share)
    more = f", {percent(share)} while a trial goes well" if share is not None and usual < share else ""
    probes = "probes" if share is None else f"probes (up to {percent(usual)} of the requests with tools{more})"
    text = (
        f"{'By the numbers of then it' if past else 'It'} comes back after {condition['calls']} fresh calls with "
        f"{limit}; where tiers are applied, {probes} provide them"
    )
    if condition["so_far"]:
        counted_at = condition.get("so_far_at")
        older = counted_at is not None and abs(counted_at - dated) > _FRESH_S
        until = f"until {moment(counted_at, zone)}" if older and counted_at is not None else "so far"
        bad = f"{condition['so_far_bad']:,.0f}" if condition["so_far_bad"] else "none"
        text += f"; {until} there were {condition['so_far']:,.0f}, of which {bad} bad"
    trial = condition.get("next_trial_at")
    if trial and trial > at:
        text += (
            f"; probes come in trials, the next of which begins at {moment(trial, zone)} (in {duration(trial - at)})"
        )
    return f"{text}.{_duration_of_trial(condition)}"


def _duration_of_trial(condition: Mapping[str, Any]) -> str:
    """Describe a way back that takes days, and the shorter one."""
    takes_s, kept_s = condition.get("takes_s"), condition.get("kept_s")
    if takes_s is None or kept_s is None:
        return ""
    days = f"{takes_s / 86_400:,.0f} days"
    run = condition.get("deployment")
    sooner = f"`{_COMMAND.format(shlex.quote(run))}` decides within minutes, and " if run else ""
    ends = f", longer than calls are kept ({duration(kept_s)}), so it does not come back by itself"
    return f" With the present traffic that takes about {days}{ends if takes_s > kept_s else ''}; {sooner}{_OVERRIDE}"
