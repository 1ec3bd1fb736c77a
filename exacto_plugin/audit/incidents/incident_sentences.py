"""The sentences about incidents. Works on plain data; looks nothing up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import counted, duration, money, name_of, values_apart
from exacto_plugin.core.model import Outcome, Signal
from exacto_plugin.core.routing.counterfactual import LOST

if TYPE_CHECKING:
    from collections.abc import Mapping

KIND_NAMES: Mapping[str, str] = {
    Outcome.INVALID_JSON: "arguments that are no JSON",
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

    That is its most frequent failure, else its signal.
    """
    if incident["signal"] == Signal.TOOL_CALL_SUCCESS and incident["kind"] is not None:
        return KIND_NAMES.get(incident["kind"], incident["kind"])
    signal = incident["signal"]
    if signal is None:
        return "unknown"
    words = {
        Signal.TOOL_CALL_SUCCESS: "bad tool calls",
        Signal.THROUGHPUT: "slow answers",
        Signal.ANSWER_SUCCESS: "broken answers",
    }
    return words.get(signal, f"low {name_of(signal)}")


def how_bad(incident: Mapping[str, Any]) -> str:
    """Return the number that deranked the deployment, against its threshold."""
    signal, measured, threshold = incident["signal"], incident["value"], incident["threshold"]
    if signal is None or measured is None:
        return "not on record"
    what = ""
    if signal == Signal.TOOL_CALL_SUCCESS:
        measured, threshold, what = bad_rate(measured), None if threshold is None else bad_rate(threshold), " bad"
    told, limit = values_apart(signal, measured, threshold)
    return f"{told}{what}" if threshold is None else f"{told}{what}, threshold {limit}"


def incident_sentence(incident: Mapping[str, Any]) -> str:
    """Describe an incident and its effects."""
    verb = "is" if incident["open"] else "was"
    text = f"{incident['deployment']} {verb} deranked in {incident['model_group']} for {kind_of(incident)}: "
    text += how_bad(incident)
    if incident["signal"] is not None and incident["samples"]:
        text += f" ({counted(incident['signal'], incident['samples'])} within {duration(incident['window_s'])})"
    parts = [f"{text}."]
    if incident["answers"]:
        parts.append(
            f"{incident['bad']:,.0f} of its {incident['answers']:,.0f} answers with tools were bad since its onset."
        )
    saved = []
    if incident["moved"] >= 0.5:
        saved.append(
            f"tiers sent about {incident['moved']:,.0f} requests elsewhere, which saved about "
            f"{incident['saved']:,.0f} bad calls"
        )
    if incident["rescued"]:
        saved.append(f"{incident['rescued']:,.0f} were rescued")
    if saved:
        text = "; ".join(saved)
        parts.append(f"{text[0].upper()}{text[1:]}.")
    if incident["cost_usd"]:
        parts.append(f"The bad answers cost about {money(incident['cost_usd'])}.")
    return " ".join(parts)
