"""The deployments of a model group that are not deranked: are any suspicious?

Works on the plain data of the API; looks nothing up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit.formatting import percent
from exacto_plugin.audit.incidents.incident_sentences import bad_rate
from exacto_plugin.core.model import ReasonCode, Signal, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LEAST_CALLS = 30
"""Calls from which a share above the threshold is suspicious; one of 10 % has a standard error of 5 points."""

_MOST_NAMED = 3
"""Suspicious deployments that are named; the rest is counted."""


class _Share(NamedTuple):
    deployment: str
    bad: float
    """Share of bad calls, as the next."""
    threshold: float
    calls: int
    is_suspected: bool
    """True if the rule calls it probably bad."""

    @property
    def is_suspicious(self) -> bool:
        return self.is_suspected or (self.bad > self.threshold and self.calls >= _LEAST_CALLS)

    def words(self) -> str:
        """Return the deployment with its share."""
        return (
            f"{self.deployment} with {percent(self.bad)} bad of {self.calls:,} calls "
            f"(threshold {percent(self.threshold)})"
        )


def others_sentence(group: Mapping[str, Any]) -> str:
    """Describe suspicious deployments that are not deranked, else the nearest one.

    Args:
        group: a model group of the API's ``models``.
    """
    name, others = group["model_group"], _others(group)
    other = "other " if len(others) < len(group["deployments"]) else ""
    if not others:
        return f"{name} has no other deployment."
    shares = _shares(group)
    found = sorted((one for one in shares if one.is_suspicious), key=lambda one: -one.bad)
    if found:
        told = ", ".join(one.words() for one in found[:_MOST_NAMED])
        more = f", and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        return f"Suspicious in {name}, and not deranked: {told}{more}."
    if not shares:
        return f"The {other}deployments of {name} have too few calls yet to tell whether one is suspicious."
    nearest = max(shares, key=lambda one: one.bad / max(one.threshold, 1e-9))
    unknown = len(others) - len(shares)
    few = f" {unknown} of them {'has' if unknown == 1 else 'have'} too few calls to tell." if unknown else ""
    return f"No {other}deployment of {name} is suspicious; the nearest is {nearest.words()}.{few}"


def has_suspicious(group: Mapping[str, Any]) -> bool:
    """Return whether a deployment is suspicious and not deranked."""
    return any(share.is_suspicious for share in _shares(group))


def _others(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in group["deployments"] if one["tier"] != Tier.DERANKED]


def _shares(group: Mapping[str, Any]) -> list[_Share]:
    """Return the known shares of the deployments that are not deranked."""
    return [share for one in _others(group) if (share := _share(one, group["references"])) is not None]


def _share(deployment: Mapping[str, Any], references: Mapping[str, Any]) -> _Share | None:
    """Return the share of bad calls against its threshold; None where one is unknown."""
    signal = Signal.TOOL_CALL_SUCCESS.value
    reasons = [one for one in deployment["reasons"] if one["signal"] == signal]
    measured = deployment["signals"].get(signal, {"value": None, "samples": 0})
    thresholds = [one["threshold"] for one in reasons] + [references.get(signal, {}).get("threshold")]
    threshold = next((one for one in thresholds if one is not None), None)
    if measured["value"] is None or threshold is None:
        return None
    return _Share(
        deployment["deployment"],
        bad_rate(measured["value"]),
        bad_rate(threshold),
        measured["samples"],
        any(one["code"] == ReasonCode.PROBABLY_BAD for one in reasons),
    )


def others_of_groups(groups: Iterable[Mapping[str, Any]], incidents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the words on other deployments, of all groups and of the same provider."""
    groups = list(groups)
    opened = [one for one in incidents if one["open"]]
    wrong = {one["model_group"] for one in opened}
    told = [others_sentence(one) for one in groups if one["model_group"] in wrong or has_suspicious(one)]
    rest = [one for one in groups if one["model_group"] not in wrong]
    if wrong and rest and not any(has_suspicious(one) for one in rest):
        told.append("No deployment of any other model group is suspicious.")
    providers = dict.fromkeys(one["provider"] for one in opened if one.get("provider"))
    return told + [words for name in providers if (words := _provider_sentence(name, groups, opened))]


def _provider_sentence(provider: str, groups: Iterable[Mapping[str, Any]], opened: Iterable[Mapping[str, Any]]) -> str:
    """Describe the other deployments of a provider; empty without any."""
    bad = {(one["model_group"], one["deployment"]) for one in opened}
    others = [
        (f"{one['deployment']} in {group['model_group']}", one, _share(one, group["references"]))
        for group in groups
        for one in group["deployments"]
        if one.get("provider") == provider and (group["model_group"], one["deployment"]) not in bad
    ]
    if not others:
        return ""
    wrong = [
        f"{name} ({'deranked' if one['tier'] == Tier.DERANKED else 'suspicious'})"
        for name, one, share in others
        if one["tier"] == Tier.DERANKED or (share is not None and share.is_suspicious)
    ]
    if wrong:
        more = f", and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
        return f"Also of provider {provider}: {', '.join(wrong[:_MOST_NAMED])}{more}."
    if all(share is None for _, _, share in others):
        return f"The other deployments of provider {provider} have too few calls to tell."
    names = ", ".join(name for name, _, _ in others[:_MOST_NAMED])
    more = f", and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    return f"No other deployment of provider {provider} is suspicious ({names}{more})."
