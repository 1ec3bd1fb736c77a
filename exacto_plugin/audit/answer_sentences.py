"""Sentences of ``why`` on a deployment's answers: flaws and longer prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import FLAW_WORDS, flaw_counts, percent, window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def answer_sentences(view: Mapping[str, Any]) -> list[str]:
    """Describe a deployment's answers: their flaws, lately too, and their prompts."""
    flaws = [flaw_sentence(view.get("flaws")), flaw_rate_sentence(view.get("flaw_rates"))]
    return [*flaws, *pair_sentences(view.get("pairs"))]


def flaw_sentence(flaws: Mapping[str, int] | None) -> str:
    """Describe what was wrong with a deployment's answers; empty without flaws."""
    counts = flaw_counts(flaws)
    if not counts:
        return ""
    mix = ", ".join(f"{count:,} with {FLAW_WORDS[flaw]} ({flaw})" for flaw, count in counts)
    return f"Bad answers since the proxy started: {mix}."


def flaw_rate_sentence(windows: Sequence[Mapping[str, Any]] | None) -> str:
    """Describe the shares of answers with each flaw by window; empty without flaws.

    >>> flaw_rate_sentence([{"window_s": 3600.0, "answers": 200, "rates": {"empty": 0.05}}])
    'Of 200 answers in the last 1 h 5.00 % had neither text nor a call (empty).'
    """
    told = []
    for one in windows or ():
        rates = sorted((-rate, flaw) for flaw, rate in one["rates"].items() if rate and flaw in FLAW_WORDS)
        mix = ", ".join(f"{percent(-rate)} had {FLAW_WORDS[flaw]} ({flaw})" for rate, flaw in rates)
        if mix:
            told.append(f"of {one['answers']:,} answers in {window(one['window_s'])} {mix}")
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def pair_sentences(pairs: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Describe constant differences of prompts, request by request.

    >>> (told,) = pair_sentences([{"other": "b", "counted": 40, "offset": -9, "share": 0.9, "constant": True}])
    >>> told.partition(":")[0]
    'In 90.0 % of 40 requests that b was sent too, it counted 9 prompt tokens fewer'
    """
    return [
        f"In {percent(one['share'])} of {one['counted']:,} requests that {one['other']} was sent too, it counted "
        f"{abs(one['offset']):,} prompt tokens {'more' if one['offset'] > 0 else 'fewer'}: another chat template, "
        "or tools that did not reach the model."
        for one in pairs or ()
        if one["constant"]
    ]
