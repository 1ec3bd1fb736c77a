"""The sentences on a request: its decision and its attempts.

Works on the plain data of the API. Looks nothing up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import TIER_WORDS, moment, name_of, values_apart
from exacto_plugin.core.model import ReasonCode, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

_WHY_REASON = {
    "tiers": "tiers put the best first",
    "one_tier": "all candidates were in one tier",
    "probe": "it was a probe of a deployment that needs measurements",
    "affinity": "its conversation was there",
    "bound": "only one deployment could read its provider state",
    "sort": "the request set the order",
    "preferred": "preferences about speed came first",
    "no_tools": "it offered no tools",
    "mode_off": "mode is off",
    "observe": "tiers were only observed",
    "share": "it lay outside of apply_share, so tiers were only observed",
    "rate_limited": "a better deployment had refused more requests (429) within the last minutes",
    "tried_all": "every candidate had been tried",
    "no_sort": "the operator's own strategy was left alone",
}


def request_sentence(view: Mapping[str, Any], zone: tzinfo | None = None) -> str:
    """Describe the decision about a request, and its attempts."""
    suffixes = "".join(f":{suffix}" for suffix in view["suffixes"])
    text = f"Request {view['id']} for {view['model_group']}{suffixes} at {moment(view['at'], zone)}"
    policy = f" had the policy {view['policy']}" if view["policy"] else ""
    reason = _WHY_REASON.get(view["reason"], view["reason"])
    parts = [f"{text}{policy}{': ' + reason if reason else ''}."]
    if view["candidates"]:
        parts.append(f"Candidates: {'; '.join(_candidate(one) for one in view['candidates'])}.")
    parts += [_attempt(number, one) for number, one in enumerate(view["attempts"], start=1)]
    if view["refusals"]:
        parts.append(f"It was refused by {', '.join(dict.fromkeys(view['refusals']))}.")
    if view["rescue_cost"] is not None:
        parts.append(f"The unused answers cost ${view['rescue_cost']:.4g}.")
    return " ".join(parts)


def _candidate(candidate: Mapping[str, Any]) -> str:
    tier = TIER_WORDS.get(candidate["tier"], candidate["tier"])
    below = next((one for one in candidate["reasons"] if one["code"] == ReasonCode.BELOW_THRESHOLD), None)
    detail = ""
    if below is not None and candidate["tier"] == Tier.DERANKED:
        signal = below["signal"]
        measured, limit = values_apart(signal, below["value"], below["threshold"])
        detail = f", {name_of(signal)} {measured} against {limit}"
    pool = ", in the pool" if candidate["in_pool"] else ""
    return f"{candidate['deployment']} ({tier}{detail}{pool})"


def _attempt(number: int, attempt: Mapping[str, Any]) -> str:
    what = "a probe of " if attempt["probe"] else "a rescue by " if attempt["rescue"] else ""
    status = attempt["status"]
    verdict = f", {attempt['verdict']}" if attempt["verdict"] else ""
    ended = {
        "answered": f"answered{verdict}",
        "replaced": f"gave a bad answer{verdict}, which was replaced",
    }.get(status, f"failed with {status}")
    if status == "replaced" and attempt["rescue"]:
        ended = f"answered{verdict}, which was not used"
    return f"Attempt {number}, {what}{attempt['deployment']}, {ended}."
