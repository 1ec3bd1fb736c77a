"""Sentences of ``why`` on a deployment's answers: flaws, prompts, benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import FLAW_WORDS, flaw_counts, moment, percent, run_name, window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo


_STANDINGS = {
    "too_few_tasks": "too few tasks",
    "nothing_to_compare": "nothing to compare with",
    "reference": "the reference",
    "significantly_below": "significantly below",
    "indistinguishable": "indistinguishable from",
    "above": "above",
    "slightly_below": "slightly below",
}
"""By standing of the score."""

_COMPARED = frozenset({"significantly_below", "indistinguishable", "above", "slightly_below"})


def answer_sentences(view: Mapping[str, Any], zone: tzinfo | None = None) -> list[str]:
    """Describe a deployment's answers: their flaws, lately too, and their prompts."""
    rates = view.get("flaw_rates") or ()
    # Rates since the first answer that was counted say the same as the counts since the start.
    whole = any(one.get("since") is not None and one["rates"] for one in rates)
    flaws = ["" if whole else flaw_sentence(view.get("flaws")), flaw_rate_sentence(rates, zone)]
    return [*flaws, *pair_sentences(view.get("pairs"))]


def flaw_sentence(flaws: Mapping[str, int] | None) -> str:
    """Describe what was wrong with a deployment's answers; empty without flaws."""
    counts = flaw_counts(flaws)
    if not counts:
        return ""
    mix = ", ".join(f"{count:,} with {FLAW_WORDS[flaw]} ({flaw})" for flaw, count in counts)
    return f"Bad answers since the start of this process: {mix}."


def flaw_rate_sentence(windows: Sequence[Mapping[str, Any]] | None, zone: tzinfo | None = None) -> str:
    """Describe the shares of answers with each flaw by window; empty without flaws.

    A window that began before the first counted answer is told by the time of that answer. Of windows with the same
    answers the longest is told.

    >>> flaw_rate_sentence([{"window_s": 3600.0, "answers": 200, "rates": {"empty": 0.05}}])
    'Of 200 answers that this process saw in the last 1 h 5.00 % had neither text nor a call (empty).'
    """
    told = {}
    for one in windows or ():
        rates = sorted((-rate, flaw) for flaw, rate in one["rates"].items() if rate and flaw in FLAW_WORDS)
        mix = ", ".join(f"{percent(-rate)} had {FLAW_WORDS[flaw]} ({flaw})" for rate, flaw in rates)
        since = one.get("since")
        when = (
            f"that this process saw in {window(one['window_s'])}"
            if since is None
            else f"since {moment(since, zone)}, when this process counted the first,"
        )
        if mix:
            told[one["answers"], mix] = f"of {one['answers']:,} answers {when} {mix}"
    text = "; ".join(told.values())
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def pair_sentences(pairs: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Describe constant differences of prompts, request by request.

    >>> (told,) = pair_sentences([{"other": "b", "counted": 40, "offset": -9, "share": 0.85, "constant": True}])
    >>> told.partition(":")[0]
    'In 85.0 % of 40 requests that b was sent too, it counted 9 prompt tokens fewer'
    """
    return [
        f"In {percent(one['share'])} of {one['counted']:,} requests that {one['other']} was sent too, it counted "
        f"{abs(one['offset']):,} prompt tokens {'more' if one['offset'] > 0 else 'fewer'}: another chat template, "
        "or tools that did not reach the model."
        for one in pairs or ()
        if one["constant"]
    ]


def verdict_words(score: Mapping[str, Any]) -> str:
    """Return the verdict on a score, with what it is compared with.

    >>> verdict_words({"standing": "indistinguishable", "against": "maker"})
    'indistinguishable from the reference'
    >>> verdict_words({"standing": "significantly_below", "against": None})
    'significantly below the others'
    """
    standing = str(score["standing"])
    others = ("the others" if score["against"] is None else "the reference") if standing in _COMPARED else ""
    return f"{_STANDINGS.get(standing, standing)} {others}".rstrip()


def share_words(score: Mapping[str, Any]) -> str:
    """Return the share of the others' score, with its interval; empty without one.

    >>> share_words({"share": (0.571, 0.43, 0.712)})
    '57 % (43 % to 71 %)'
    """
    if score["share"] is None:
        return ""
    share, low, high = score["share"]
    return f"{100 * share:.0f} % ({100 * low:.0f} % to {100 * high:.0f} %)"


def score_words(score: Mapping[str, Any]) -> str:
    """Return a score of 100 with its standard error.

    >>> score_words({"score": 0.552, "error": 0.071})
    '55.2 ± 7.1'
    """
    error = "" if score["error"] is None else f" ± {100 * score['error']:.1f}"
    return f"{100 * score['score']:.1f}{error}"


def benchmark_sentences(view: Mapping[str, Any], zone: tzinfo | None = None) -> list[str]:
    """Describe a deployment's benchmark scores, and its newest runs that do not count."""
    found = view.get("benchmarks") or {"scores": (), "refused": ()}
    told = []
    for one in found["scores"]:
        share = f", {share_words(one)} of {one['against'] or 'the others'}" if one["share"] else ""
        runs = f"{one['runs']} runs" if one["runs"] > 1 else "1 run"
        told.append(
            f"In the benchmark {one['benchmark']} it scored {score_words(one)} of 100{share}: {verdict_words(one)} "
            f"({one['tasks']} tasks, {runs}, the latest {run_name(one['run'])})."
        )
    return told + [
        f"Its run of {one['benchmark']} at {moment(one['at'], zone)} does not count: {one['reason']}."
        for one in found["refused"]
    ]
