"""The sentences about incidents. Works on plain data; looks nothing up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.audit.formatting import counted, duration, minute, minutes, money, name_of, percent, values_apart
from exacto_plugin.core.model import Outcome, Signal
from exacto_plugin.core.routing.counterfactual import LOST
from exacto_plugin.core.stats.binomial import wilson_lower, wilson_upper
from exacto_plugin.core.stats.rates import Z

if TYPE_CHECKING:
    from collections.abc import Mapping

KIND_NAMES: Mapping[str, str] = {
    Outcome.INVALID_JSON: "arguments that are not JSON",
    Outcome.UNKNOWN_NAME: "unknown tool names",
    Outcome.SCHEMA_MISMATCH: "arguments against the schema",
    LOST: "lost tool calls",
}
"""The kinds of bad answers in words."""


END_WORDS: Mapping[str | None, str] = {"gone": " (no longer served)", "restarted": " (its verdict began anew)"}
"""The end of an incident in words, where it is no transition."""


def bad_rate(success: float) -> float:
    """Return the share of bad calls of a share of good ones.

    Rounded, without the noise of binary fractions.
    """
    return round(1.0 - success, 9)


def kind_of(incident: Mapping[str, Any]) -> str:
    """Return the kind of an incident in words.

    Those are the kinds of its failures with their shares, else its signal.
    """
    signal = incident["signal"]
    if signal == Signal.TOOL_CALL_SUCCESS and incident["kinds"]:
        return kind_shares(incident["kinds"])
    if signal is None:
        return "unknown"
    words = {
        Signal.TOOL_CALL_SUCCESS: "bad tool calls",
        Signal.THROUGHPUT: "slow answers",
        Signal.ANSWER_SUCCESS: "broken answers",
    }
    return words.get(signal, f"low {name_of(signal)}")


def kind_shares(kinds: Mapping[str, float]) -> str:
    """Return kinds of bad answers with their shares, the most frequent first.

    >>> kind_shares({"invalid_json": 1, "schema_mismatch": 2})
    'arguments against the schema (66.7 %), arguments that are not JSON (33.3 %)'
    """
    total = sum(kinds.values())
    order = sorted(kinds, key=lambda kind: -kinds[kind])
    if len(order) == 1:
        return KIND_NAMES.get(order[0], order[0])
    return ", ".join(f"{KIND_NAMES.get(kind, kind)} ({percent(kinds[kind] / total)})" for kind in order)


def how_bad(incident: Mapping[str, Any]) -> str:
    """Return how bad the deployment was.

    That is its share of bad calls from the onset to the derank, else the number that deranked it.
    """
    change = incident["change"]
    if change is None or not change["calls"]:
        return judged_at(incident)
    told = (
        f"{percent(change['bad'] / change['calls'])} of its tool calls bad ({change['bad']:,} of {change['calls']:,})"
    )
    rising = f", rising to about {percent(round(change['share'], 2))}" if change["gradual"] else ""
    last = incident["last_calls"]
    if last is not None and not change["gradual"]:
        rising = f", {percent(last['bad'] / last['calls'])} from {minute(last['since'])[11:]} on"
    return f"{told}{rising}; before {percent(round(change['usual'], 4))}"


def measured_share(incident: Mapping[str, Any]) -> str:
    """Return the share of bad calls from the onset to the derank.

    With its 95 % interval, Wilson's.
    """
    change = incident["change"]
    bad, calls = change["bad"], change["calls"]
    low, high = (float(end(np.array(bad), np.array(calls), Z)) for end in (wilson_lower, wilson_upper))
    return f"{percent(bad / calls)}, {bad:,} of {calls:,} (95 %: {percent(max(0.0, low))} to {percent(min(1.0, high))})"


def judged_at(incident: Mapping[str, Any]) -> str:
    """Return the number that deranked the deployment, against its threshold."""
    signal, measured, threshold = incident["signal"], incident["value"], incident["threshold"]
    if signal is None or measured is None:
        return "not on record"
    what = ""
    if signal == Signal.TOOL_CALL_SUCCESS:
        measured, threshold, what = bad_rate(measured), None if threshold is None else bad_rate(threshold), " bad"
    told, limit = values_apart(signal, measured, threshold)
    return f"{told}{what}" if threshold is None else f"{told}{what}, threshold {limit}"


def evidence_of(incident: Mapping[str, Any]) -> str:
    """Return the number that deranked the deployment, with its samples and window."""
    text = judged_at(incident)
    if incident["signal"] is not None and incident["samples"]:
        text += f" ({counted(incident['signal'], incident['samples'])} within {duration(incident['window_s'])})"
    return text


def onset_words(incident: Mapping[str, Any]) -> str:
    """Return since when the calls were bad, as exactly as is on record."""
    change = incident["change"]
    if change is None:
        return f"{minute(incident['onset'])}, to the hour"
    words = ", little by little" if change["gradual"] else ""
    return f"{minute(change['at'])}{words} ({_interval(change)})"


def _interval(change: Mapping[str, Any]) -> str:
    """Return the interval of a change; the date once."""
    day = minute(change["at"])[:11]
    told = minutes(change["earliest"], change["latest"]).removesuffix(" UTC")
    return f"95 %: {told.replace(day, '')}"


def recovery_words(incident: Mapping[str, Any]) -> str:
    """Return since when its calls were good again; empty where nothing tells."""
    change, better = incident["recovered"], incident["better"]
    if change is not None:
        return f"{minute(change['at'])} ({_interval(change)})"
    if better is not None:
        return f"about {minute(better['at'])}, to the hour ({better['bad']:,} of {better['calls']:,} calls bad since)"
    return ""


def incident_sentence(incident: Mapping[str, Any]) -> str:
    """Describe an incident and its effects."""
    verb = "is" if incident["open"] else "was"
    what = f"{incident['deployment']} {verb} deranked in {incident['model_group']}"
    change = incident["change"]
    if change is None:
        parts = [f"{what} for {kind_of(incident)}: {evidence_of(incident)}."]
    else:
        parts = [
            f"{what} for bad tool calls: {kind_of(incident)}.",
            f"Since {onset_words(incident)} it had {how_bad(incident)}.",
            f"Deranked {minute(incident['since'])}.",
        ]
    if recovered := recovery_words(incident):
        wait = "; it comes back when the rule has enough good calls" if incident["open"] else ""
        parts.append(f"Good again since {recovered}{wait}.")
    if incident["answers"]:
        parts.append(_bad_since(incident))
    if saved := _saved(incident):
        parts.append(saved)
    if incident["cost_usd"]:
        parts.append(f"The bad answers cost about {money(incident['cost_usd'])}.")
    return " ".join(parts)


def _bad_since(incident: Mapping[str, Any]) -> str:
    bad, answers = incident["bad"], incident["answers"]
    until = "" if incident["open"] else " until its end"
    return f"{bad:,.0f} of its {answers:,.0f} answers with tools were bad since its onset{until}."


def _saved(incident: Mapping[str, Any]) -> str:
    saved = []
    if incident["moved"] >= 0.5:
        saved.append(
            f"tiers sent about {incident['moved']:,.0f} requests elsewhere, which saved about "
            f"{incident['saved']:,.0f} bad calls"
        )
    if incident["rescued"]:
        saved.append(f"{incident['rescued']:,.0f} were rescued")
    text = "; ".join(saved)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def kinds_since(incident: Mapping[str, Any]) -> str:
    """Describe the bad answers of an incident by kind.

    For a chart that shows the time around it too.
    """
    told = f": {kind_shares(incident['kinds'])}" if incident["kinds"] else ""
    return f"By the hour, and around the incident. {_bad_since(incident)[:-1]}{told}."


def traffic_words(incident: Mapping[str, Any]) -> str:
    """Describe the deployment's share of the answers before, during and after."""
    traffic = incident["traffic"]
    parts = [
        f"{percent(traffic[name])} {words}"
        for name, words in (
            ("before", "in the day before the onset"),
            ("meanwhile", "while it was deranked"),
            ("after", "after that"),
        )
        if traffic[name] is not None
    ]
    if traffic["meanwhile"] is None:
        parts.append("while it was deranked not a whole hour yet")
    moved = f"About {incident['moved']:,.0f} requests went elsewhere while it was deranked."
    return f"{moved} Its share of the answers, by whole hours: {', '.join(parts)}."
