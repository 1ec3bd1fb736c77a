"""Sentences about the series of a model group, and about missing calls.

Pure; looks nothing up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.formatting import KIND_NAMES, duration, minutes, percent, traffic_share, value
from exacto_plugin.audit.incidents.incident_sentences import bad_rate
from exacto_plugin.core.model import ReasonCode, Signal, Tier
from exacto_plugin.core.routing.counterfactual import BAD_KINDS, SENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Plain = dict[str, Any]
_CALLS = Signal.TOOL_CALL_SUCCESS.value
_MANY = 3
"""Deployments that a sentence names; the rest is counted."""
_MOST_SHARES = 8
"""Deployments whose share of the traffic a sentence names, the last one among them."""


def last_of(values: Sequence[Any]) -> Any:
    """Return the last value that is not None; None without one."""
    return next((one for one in reversed(values) if one is not None), None)


def rates_finding(series: Mapping[str, Any], names: Sequence[str]) -> str:
    """Describe the last shares of bad calls against their thresholds."""
    rates = {
        name: bad_rate(success)
        for name in names
        if (success := last_of(series["deployments"][name]["signals"].get(_CALLS, {}).get("value", ()))) is not None
    }
    if not rates:
        return "No share of bad calls is on record in this time."
    limits = {name: limit for name in rates if (limit := _threshold_of(series, name)) is not None}
    worst_first = sorted(rates, key=lambda name: -rates[name])
    above = [name for name in worst_first if name in limits and rates[name] > limits[name]]
    threshold = f" the threshold of {_span(limits[name] for name in above or limits)}" if limits else ""
    if above:
        told = ", ".join(f"{name} ({percent(rates[name])}{_of_derank(series, name)})" for name in above[:_MANY])
        more = f" and {len(above) - _MANY} more" if len(above) > _MANY else ""
        rest = [name for name in worst_first if name not in above]
        return f"Above{threshold}: {told}{more}. {_rest(rates, rest)}".strip()
    return f"{_rest(rates, worst_first, alone=True)}{f'; below{threshold}' if threshold else ''}."


def _of_derank(series: Mapping[str, Any], name: str) -> str:
    """Return that the last share is the one that deranked it; empty if it is not."""
    deployment = series["deployments"][name]
    if last_of(deployment["tier"]) != Tier.DERANKED:
        return ""
    calls = last_of(deployment["signals"][_CALLS].get("samples", ()))
    return f"{f' of {calls:,.0f} calls' if calls else ''} at the derank"


def _threshold_of(series: Mapping[str, Any], name: str) -> float | None:
    """Return the last threshold of a deployment as a share of bad calls.

    Where bad calls have a price, few of them derank; the threshold is then the higher one, below which they acquit.
    """
    own = [last_of(line) for line in series["deployments"][name]["thresholds"].values()]
    if own and None not in own:
        return float(max(own))
    usual = last_of(series["references"].get(_CALLS, {}).get("threshold", ()))
    return None if usual is None else bad_rate(usual)


def _span(shares: Iterable[float]) -> str:
    """Format the lowest and the highest of some shares.

    >>> _span([0.031, 0.03])
    '3.00 to 3.10 %'
    """
    shares = list(shares)
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _rest(rates: Mapping[str, float], names: Sequence[str], *, alone: bool = False) -> str:
    if not names:
        return ""
    span = _span(rates[name] for name in names)
    if alone:
        return f"{names[0]} has {span} bad calls" if len(names) == 1 else f"All {len(names)} have {span} bad calls"
    return f"{'The other one has' if len(names) == 1 else f'The other {len(names)} have'} {span}."


def speed_finding(series: Mapping[str, Any], names: Sequence[str]) -> str:
    """Describe the fastest and the slowest of some deployments."""
    speeds = {
        name: speed
        for name in names
        if (speed := last_of(series["deployments"][name]["signals"].get("throughput", {}).get("value", ()))) is not None
    }
    if not speeds:
        return "No throughput is on record in this time: it takes answers of 100 tokens or more."
    order = sorted(speeds, key=lambda name: speeds[name])
    if len(order) == 1:
        return f"{order[0]} generates {value('throughput', speeds[order[0]])}."
    slow, fast = order[0], order[-1]
    return (
        f"{fast} is the fastest with {value('throughput', speeds[fast])}, "
        f"{slow} the slowest with {value('throughput', speeds[slow])}."
    )


def kinds_of(hours: Mapping[str, Any], names: Sequence[str]) -> Plain:
    """Return answers, bad answers and their kinds, summed over all hours.

    Of some deployments.
    """
    counts = [hours["deployments"][name] for name in names if name in hours["deployments"]]
    return {column: sum(sum(one[column]) for one in counts) for column in ("answers", "bad", "rescued", *BAD_KINDS)}


def kinds_finding(totals: Mapping[str, float]) -> str:
    """Describe how many answers were bad, and of which kinds."""
    answers, bad = totals["answers"], totals["bad"]
    if not answers:
        return "No answer with tools is on record in this time."
    if not bad:
        return f"None of {answers:,.0f} answers with tools was bad."
    kinds = sorted((kind for kind in BAD_KINDS if totals[kind]), key=lambda kind: -totals[kind])
    told = ", ".join(f"{totals[kind]:,.0f} with {KIND_NAMES[kind]}" for kind in kinds)
    verb = "was" if totals["rescued"] == 1 else "were"
    rescued = f"; {totals['rescued']:,.0f} {verb} rescued" if totals["rescued"] else ""
    return f"{bad:,.0f} of {answers:,.0f} answers with tools were bad ({percent(bad / answers)}): {told}{rescued}."


def traffic_finding(hours: Mapping[str, Any]) -> str:
    """Describe the share of the traffic of each deployment, lately and in all."""
    answers = {name: counts["answers"] for name, counts in hours["deployments"].items()}
    totals = [sum(counts[place] for counts in answers.values()) for place in range(len(hours["times"]))]
    places = [place for place, total in enumerate(totals) if total]
    if not places:
        return "No answer with tools is on record in this time."
    # The current hour has just begun, where another one is on record.
    last = places[-2] if len(places) > 1 and places[-1] == len(totals) - 1 else places[-1]
    share = {name: counts[last] / totals[last] for name, counts in answers.items()}
    whole = {name: sum(counts) / sum(totals) for name, counts in answers.items()}
    order = sorted(share, key=lambda name: -share[name])
    shown = order if len(order) <= _MOST_SHARES else [*order[: _MOST_SHARES - 1], order[-1]]
    told = ", ".join(f"{name} {traffic_share(share[name])} (in all {traffic_share(whole[name])})" for name in shown)
    begin = minutes(hours["times"][last], hours["times"][last] + hours["step_s"])
    more = f", and {len(order) - len(shown)} more" if len(order) > len(shown) else ""
    return f"Of {totals[last]:,.0f} answers with tools, {begin}: {told}{more}."


def tier_shares(counts: Mapping[str, float]) -> dict[str, float] | None:
    """Return the share of answers by the tier when their requests were sent.

    None where no tier is on record. ``not on record`` stands for those that an earlier version counted, and for
    requests that tiers did not look at.
    """
    total, known = counts["answers"], sum(counts[column] for column in SENT.values())
    if not total or not known:
        return None
    shares = {tier: counts[column] / total for tier, column in SENT.items()}
    return shares | {"not on record": max(0.0, 1.0 - known / total)}


def missing_words(reasons: Sequence[Mapping[str, Any]], calls_per_s: float) -> str:
    """Return how many calls a verdict lacks, and when they will be there.

    Empty if none are missing.

    Args:
        reasons: of the deployment's tier.
        calls_per_s: its answers with tools lately, per second.
    """
    missing = next(
        (one for one in reasons if one["code"] == ReasonCode.TOO_FEW_SAMPLES and one["signal"] == _CALLS), None
    )
    if missing is None or missing["samples"] >= missing["needed"]:
        return ""
    left = missing["needed"] - missing["samples"]
    have = f"{missing['samples']:,} of {missing['needed']:,} calls"
    if calls_per_s <= 0.0:
        return f"{have}; it had none lately."
    return f"{have}; at your traffic in about {duration(max(60.0, 60.0 * round(left / calls_per_s / 60.0)))}."
