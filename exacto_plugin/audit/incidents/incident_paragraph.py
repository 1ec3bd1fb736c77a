"""An incident in words: a headline, and its effects under a few titles.

The same words stand on the page, in the API and in the file for the provider. Works on plain data; looks nothing up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.audit.formatting import about, duration, minute, minutes, money, percent, traffic_share
from exacto_plugin.audit.incidents.incident_sentences import (
    END_WORDS,
    bad_since,
    evidence_of,
    from_earliest,
    headline_share,
    kind_of,
    kinds_sentence,
    usual_share,
)
from exacto_plugin.audit.incidents.incident_times import between, is_from_first_call, onset_words, recovery_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_ALIKE = 0.05
"""Difference of shares of the traffic up to which they are told as one."""

_SERVES = 0.01
"""Share of the traffic from which another deployment is said to have some of it."""

_MOST_SHARES = 4
"""Other deployments whose share is told; the rest is left out."""


class Part(NamedTuple):
    """Sentences under one title."""

    title: str
    text: str
    key: Sequence[str]
    """Phrases of the text that the page shows in bold."""


def incident_sentence(incident: Mapping[str, Any]) -> str:
    """Describe an incident and its effects."""
    return " ".join([headline(incident).text, *(part.text for part in incident_parts(incident))])


def headline(incident: Mapping[str, Any]) -> Part:
    """Return deployment, provider, model group, and the time of the derank."""
    is_open, change = incident["open"], incident["change"]
    when = f"since {minute(incident['since'])}"
    if not is_open:
        when = f"from {minutes(incident['since'], incident['until'])}{END_WORDS.get(incident['end'], '')}"
    provider = incident.get("provider") or ""
    name = incident["deployment"]
    of = f" (provider {provider})" if provider not in ("", name) else ""
    subject = f"{name}{of} {'is' if is_open else 'was'} deranked in {incident['model_group']}"
    if change is None:
        text = f"{subject} {when} for {kind_of(incident)}: {evidence_of(incident)}."
        return Part("", text, (f"{name}{of}", when))
    after = f"{duration(max(60.0, incident['since'] - change['at']))} after the onset"
    return Part("", f"{subject} {when}, {after}, for bad tool calls.", (f"{name}{of}", when, after))


def incident_parts(incident: Mapping[str, Any]) -> list[Part]:
    """Return the effects of an incident; those that are unknown are left out."""
    parts = [_how_bad(incident), _since_when(incident), _good_again(incident), _traffic(incident), _way_back(incident)]
    if incident["cost_usd"]:
        cost = money(incident["cost_usd"])
        parts.append(Part("Cost", f"The bad answers cost about {cost}.", (cost,)))
    return [part for part in parts if part.text]


def _how_bad(incident: Mapping[str, Any]) -> Part:
    """Return the share of bad calls from the onset to the derank, and the kinds."""
    change = incident["change"]
    if change is None:
        return Part("How bad", bad_since(incident) if incident["answers"] else "", ())
    kinds = kinds_sentence(incident)
    if not change["calls"]:
        return Part("How bad", kinds, ())
    share, counts = headline_share(change), f"({change['bad']:,} of {change['calls']:,})"
    at, usual = minute(change["at"])[11:].removesuffix(" UTC"), usual_share(change)
    if not change["gradual"]:
        before = f"; before that {usual}" if usual else _too_few_before(change)
        told = f"From {at} to the derank {share} of its tool calls were bad {counts}{from_earliest(change)}{before}."
        return Part("How bad", f"{told} {kinds}".strip(), (share,))
    last = percent(round(change["share"], 2))
    begin, rise = ("from ", f"{usual} to about {last}") if usual else ("", f"to about {last}")
    told = (
        f"Its share of bad tool calls rose gradually {begin}{rise} at the derank; on average {share} "
        f"were bad from {at} to the derank {counts}."
    )
    return Part("How bad", f"{told} {kinds}".strip(), (rise,))


def _too_few_before(change: Mapping[str, Any]) -> str:
    """Return why no share of before is told; empty where there was no call at all."""
    return "" if is_from_first_call(change) else "; before that it had too few calls to tell a share"


def _since_when(incident: Mapping[str, Any]) -> Part:
    change = incident["change"]
    if change is None:
        return Part("Since when", "", ())
    if is_from_first_call(change):
        return Part("Since when", f"It was bad {onset_words(incident)}.", ("from its first call on record",))
    best = minute(change["at"])[11:].removesuffix(" UTC")
    begin = "The rise began" if change["gradual"] else "Its calls became bad"
    word = "probably about" if change["gradual"] else "most likely"
    return Part("Since when", f"{begin} {between(change)}.", (f"{word} {best}",))


def _good_again(incident: Mapping[str, Any]) -> Part:
    recovered = recovery_words(incident)
    wait = "; it comes back when the rule has enough good calls" if incident["open"] else ""
    return Part("Good again", f"Its calls became good again {recovered}{wait}." if recovered else "", ())


def _traffic(incident: Mapping[str, Any]) -> Part:
    """Return its share of the traffic, where that went, and what this saved."""
    told, key = _shares(incident)
    went = _where_it_went(incident)
    saved, amounts = _saved(incident)
    text = " ".join(part for part in (f"{told}{went}." if told else "", saved) if part)
    return Part("Traffic", text, (*key, *amounts))


def _shares(incident: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return its share of the traffic before and since the derank, and the shares."""
    traffic = incident["traffic"]
    if traffic is None or traffic["before"] is None:
        return "", []
    key = [traffic_share(traffic["before"])]
    parts = [f"{key[0]} of the group's answers with tools in the day before"]
    if traffic["meanwhile"] is not None:
        key.append(
            f"{traffic_share(traffic['meanwhile'])} {'since the derank' if incident['open'] else 'while deranked'}"
        )
        parts.append(key[-1])
    if not incident["open"] and traffic["after"] is not None:
        parts.append(f"{traffic_share(traffic['after'])} after that")
    wait = "; no hour has begun since the derank" if incident["open"] and traffic["meanwhile"] is None else ""
    return f"It had {', '.join(parts)}{wait}", key


def _where_it_went(incident: Mapping[str, Any]) -> str:
    """Return the shares of the others since the derank; empty if unknown.

    >>> _where_it_went({"open": True, "others_now": {"a": 0.26, "b": 0.24, "c": 0.25, "e": 0.25}})
    '; the other four now have about 25 % each'
    >>> _where_it_went({"open": True, "others_now": {"a": 0.7, "b": 0.3, "c": 0.0}})
    '; of the others a now has 70 %, b 30 %'
    """
    others = incident["others_now"] if incident["open"] and incident["others_now"] else {}
    serving = {name: share for name, share in others.items() if share >= _SERVES}
    if not serving:
        return ""
    count, shares = len(serving), serving.values()
    average = f"{100 * sum(shares) / count:.0f} %"
    if len(others) == 1:
        return f"; the other one now has {average}"
    if max(shares) - min(shares) <= _ALIKE:
        many = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
        each = f"{average} each" if count > 1 else average
        which = f"the other {many}" if count == len(others) else f"{many} other{'s' if count > 1 else ''}"
        return f"; {which} now {'have' if count > 1 else 'has'} about {each}"
    order = sorted(serving, key=lambda name: -serving[name])[:_MOST_SHARES]
    told = [f"{name} {100 * serving[name]:.0f} %" for name in order[1:]]
    return f"; of the others {', '.join([f'{order[0]} now has {100 * serving[order[0]]:.0f} %', *told])}"


def _saved(incident: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return what tiers sent elsewhere and saved, and the two numbers."""
    saved: list[str] = []
    key: list[str] = []
    if incident["moved"] >= 0.5:
        low, high = incident["saved_low"], incident["saved_high"]
        key = [about(incident["moved"], "request"), about(incident["saved"], "bad call")]
        saved.append(f"tiers sent {key[0]} elsewhere, which saved {key[1]} (95 %: {low:,.0f} to {high:,.0f})")
    if incident["would_move"] >= 0.5:
        more = "more " if saved else ""
        saved.append(
            f"tiers were {'not applied to every request' if saved else 'only observed'}: applied, they would have sent "
            f"about {incident['would_move']:,.0f} {more}elsewhere and saved "
            f"{about(incident['would_save'], f'{more}bad call')}"
        )
    if incident["rescued"]:
        saved.append(f"{incident['rescued']:,.0f} {'was' if incident['rescued'] == 1 else 'were'} rescued")
    text = "; ".join(saved)
    return (f"{text[0].upper()}{text[1:]}." if text else ""), key


def _way_back(incident: Mapping[str, Any]) -> Part:
    """Return why a deranked deployment is not back yet, and when the next trial is."""
    ways = incident.get("way_back", ())
    fresh = next((one for one in ways if one["kind"] == "fresh_calls"), None)
    if fresh is None or not incident["open"]:
        return Part("Way back", "", ())
    calls, most = f"{fresh['calls']:,}", fresh["bad_at_most"]
    may = f"by the numbers of now, of {calls} {f'at most {most:,}' if most else 'none'} may be"
    if most is None:
        may = f"by the numbers of now, not even {calls} without a bad one would bring it back"
    if fresh["so_far"]:
        bad = f"{fresh['so_far_bad'] or 0.0:,.0f}"
        told = f"It is not back yet: of {fresh['so_far']:,.0f} fresh calls {bad} were bad; {may}."
    else:
        told = f"It is not back yet: it has no fresh calls so far; {may}{'' if most is None else ' bad'}."
    trial = fresh.get("next_trial_at")
    key: list[str] = []
    if trial is not None and trial > fresh.get("asked_at", trial):
        key = [f"at {minute(trial)}"]
        told += f" The next trial, which provides fresh calls, begins at {minute(trial)}."
    return Part("Way back", f"{told} {_to_do(fresh, len(ways))}".strip(), key)


def _to_do(fresh: Mapping[str, Any], conditions: int) -> str:
    """Return whether an operator has to do something for the way back."""
    takes_s, kept_s = fresh.get("takes_s"), fresh.get("kept_s")
    if fresh["bad_at_most"] is None or (takes_s is not None and kept_s is not None and takes_s > kept_s):
        return "It does not come back by itself: that takes an operator's override."
    if conditions > 1:
        return ""
    return "Nothing has to be done: where tiers are applied, it comes back by itself after enough good calls."
