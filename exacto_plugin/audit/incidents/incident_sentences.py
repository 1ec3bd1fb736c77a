"""The sentences about incidents. Works on plain data; looks nothing up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from exacto_plugin.audit.formatting import (
    KIND_NAMES,
    about,
    counted,
    duration,
    minute,
    name_of,
    percent,
    traffic_share,
    values_apart,
)
from exacto_plugin.core.model import Signal
from exacto_plugin.core.routing.counterfactual import LOST
from exacto_plugin.core.stats.binomial import wilson_lower, wilson_upper
from exacto_plugin.core.stats.rates import Z

if TYPE_CHECKING:
    from collections.abc import Mapping


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
    """Return kinds of bad answers with their counts, the most frequent first.

    >>> kind_shares({"invalid_json": 1, "schema_mismatch": 2})
    'arguments against the schema (2 of 3 bad calls), arguments that are not JSON (1 of 3)'
    """
    total = sum(kinds.values())
    order = sorted(kinds, key=lambda kind: -kinds[kind])
    if len(order) == 1:
        return KIND_NAMES.get(order[0], order[0])
    of = f"of {total:,.0f}"
    told = [f"{KIND_NAMES.get(kind, kind)} ({kinds[kind]:,.0f} {of}" for kind in order]
    return "), ".join([f"{told[0]} bad calls", *told[1:]]) + ")" if told else ""


def kinds_sentence(incident: Mapping[str, Any]) -> str:
    """Describe the kinds of an incident's bad calls; empty without any.

    >>> kinds_sentence({"kinds": {"lost": 1, "schema_mismatch": 2}, "open": True, "bad_until": 2.0})
    'Of its 3 bad calls since the onset (2 until the derank, 1 since) 2 had arguments against the schema, 1 was lost.'
    """
    kinds = incident["kinds"]
    if not kinds:
        return ""
    total = sum(kinds.values())
    order = sorted(kinds, key=lambda kind: -kinds[kind])
    span = "since the onset" if incident["open"] else "from the onset to the end"
    until = incident["bad_until"]
    if until is not None and 0.0 <= until <= total and total > 1:
        later = "since" if incident["open"] else "after it"
        span += f" ({until:,.0f} until the derank, {total - until:,.0f} {later})"
    if len(order) == 1:
        told = KIND_NAMES.get(order[0], order[0])
        return f"Its {total:,.0f} bad calls {span}: all with {told}." if total > 1 else f"Its bad call {span}: {told}."
    parts = ", ".join(_had(kind, kinds[kind]) for kind in order)
    return f"Of its {total:,.0f} bad calls {span} {parts}."


def _had(kind: str, count: float) -> str:
    if kind == LOST:
        return f"{count:,.0f} {'was' if count == 1 else 'were'} lost"
    return f"{count:,.0f} had {KIND_NAMES.get(kind, kind)}"


def how_bad(incident: Mapping[str, Any]) -> str:
    """Return how bad the deployment was.

    That is its share of bad calls from the onset to the derank, else the number that deranked it.
    """
    change = incident["change"]
    if change is None or not change["calls"]:
        return judged_at(incident)
    told = f"{headline_share(change)} of its tool calls bad ({change['bad']:,} of {change['calls']:,})"
    usual = usual_share(change)
    if change["gradual"]:
        rising = f"rising{f' from {usual}' if usual else ''} to about {percent(round(change['share'], 2))}"
        return f"on average {told}, {rising}"
    return f"{told}; before {usual}" if usual else told


def headline_share(change: Mapping[str, Any]) -> str:
    return percent(change["bad"] / change["calls"])


def usual_share(change: Mapping[str, Any]) -> str:
    """Return the share of bad calls before; empty where too few calls tell it."""
    return "" if change["usual"] is None else percent(round(change["usual"], 4))


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


_SURE_S = 1200.0
"""Length of an interval from which the share from its beginning on is told too."""


def from_earliest(change: Mapping[str, Any]) -> str:
    """Return the share if the change came at the beginning of its interval.

    Empty for a short interval, and where it is not on record.
    """
    calls, bad = change.get("most_calls"), change.get("most_bad")
    if not calls or change["at"] - change["earliest"] < _SURE_S:
        return ""
    begin = minute(change["earliest"])[11:].removesuffix(" UTC")
    return f"; if it began slowly at {begin}, {percent(bad / calls)} ({bad:,} of {calls:,})"


def bad_since(incident: Mapping[str, Any]) -> str:
    bad, answers = incident["bad"], incident["answers"]
    span = "since its onset" if incident["open"] else "from its onset to its end"
    return f"{bad:,.0f} of its {answers:,.0f} answers with tools were bad {span}."


def at_the_derank(incident: Mapping[str, Any]) -> str:
    """Describe the number that deranked the deployment, with its time, for a chart."""
    if incident["signal"] is None or incident["value"] is None or not incident["samples"]:
        return f"At the derank: {judged_at(incident)}."
    span, share = f"At the derank, over {duration(incident['window_s'])}", judged_at(incident)
    told, _, limit = share.partition(", threshold ")
    of = f" of {counted(incident['signal'], incident['samples'])}"
    end = f" (threshold {limit})" if limit else ""
    if told.endswith(" bad"):
        return f"{span}: {told.removesuffix(' bad')}{of} bad{end}."
    return f"{span}: {told}{of}{end}."


def kinds_since(incident: Mapping[str, Any]) -> str:
    """Describe the bad answers of an incident by kind.

    For a chart that shows the time around it too.
    """
    told = f": {kind_shares(incident['kinds'])}" if incident["kinds"] else ""
    return f"By the hour, and around the incident. {bad_since(incident)[:-1]}{told}."


def traffic_words(incident: Mapping[str, Any]) -> str:
    """Describe the deployment's share of the answers before, during and after."""
    traffic = incident["traffic"]
    parts = [
        f"{traffic_share(traffic[name])} {words}"
        for name, words in (
            ("before", "in the day before the onset"),
            ("meanwhile", "while it was deranked"),
            ("after", "after that"),
        )
        if traffic[name] is not None
    ]
    if traffic["meanwhile"] is None:
        parts.append("while it was deranked nothing yet of an hour that began after it")
    moved = f"{about(incident['moved'], 'request').capitalize()} went elsewhere while it was deranked."
    return f"{moved} Its share of the answers, by whole hours: {', '.join(parts)}."
