"""What operators say about deployments: a tier for a while, with a reason, over what the measurements say.

Words lie over a snapshot like a sheet: what a rule measured and remembers stays as it is underneath, and shows again
when a word expires or is taken back. Must not judge anything, and knows no clock and no store.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from exacto_plugin.core.model import GroupSnapshot, Reason, ReasonCode, Snapshot, Tier, Verdict
from exacto_plugin.core.tiers.columns import LazyMapping
from exacto_plugin.core.wire import to_wire, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_S = 30 * 86_400.0
"""Longest time that a word holds: what is true for longer belongs into the configuration. A choice of ours."""


class OverrideAction(StrEnum):
    """What can be said."""

    GOOD = "good"
    DERANKED = "deranked"
    RESET = "reset"
    """Whatever was said before no longer holds."""


_TIERS = {OverrideAction.GOOD: Tier.VERIFIED_GOOD, OverrideAction.DERANKED: Tier.DERANKED}


@wire("model_group deployment word reason author since expires")
@dataclass(frozen=True, slots=True)
class Override:
    """One word about one deployment of one model group. Times are UTC seconds."""

    model_group: str
    deployment: str
    word: OverrideAction
    reason: str
    """The operator's own words."""
    author: str
    """Salted hash of who said it."""
    since: float
    expires: float

    @property
    def tier(self) -> Tier | None:
        """The tier that it gives; None when it takes a word back."""
        return _TIERS.get(self.word)

    def as_plain(self) -> dict[str, str | float]:
        """The same as JSON can write it."""
        return to_wire(self) | {"word": self.word.value}


def override_of(plain: Mapping[str, object]) -> Override:
    """What ``as_plain`` gave; further keys are left out.

    Raises:
        ValueError: something is missing or is no such thing.
    """
    texts = [plain.get(name) for name in ("model_group", "deployment", "word", "reason", "author")]
    times = [plain.get(name) for name in ("since", "expires")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text of an override is missing")
    group, deployment, word, reason, author = map(str, texts)
    since, expires = (float(at) if isinstance(at, int | float) else float("nan") for at in times)
    if not since <= expires:
        raise ValueError("a time of an override is missing")
    return Override(group, deployment, OverrideAction(word), reason, author, since, expires)


@dataclass(frozen=True, slots=True)
class OverriddenVerdict(Verdict):
    """A verdict whose tier an operator gave; ``reasons`` begin with ``override``, and what was measured follows."""

    override: Override | None = None
    measured: Tier = Tier.INSUFFICIENT_DATA
    """The tier that it would have."""


_MEASURED = tuple(field.name for field in fields(Verdict))


class Overrides:
    """The words in force. Its mappings are replaced as a whole, so that any thread may read."""

    __slots__ = ("_applied", "_in_force", "_newest")

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], Override] = {}
        """The newest word about each deployment, by model group and deployment; see ``take``."""
        self._in_force: Mapping[tuple[str, str], Override] = MappingProxyType({})
        """Those of them that give a tier now."""
        self._applied: tuple[Snapshot, Mapping[tuple[str, str], Override], Snapshot] | None = None
        """A snapshot, the words, and what they made of it."""

    def merge(self, words: Iterable[Override], now: float) -> tuple[Override, ...]:
        """Learn words, from wherever they come, in any order and as often as they like.

        The newest word about a deployment holds until it expires, and then none does: an older one does not come
        back, though it may still be heard from somebody who missed the newer. So words are remembered for longer than
        they hold.

        Returns:
            Those of the words that are news, and have not expired yet.
        """
        heard = {key: word for key, word in self._newest.items() if now < word.since + LONGEST_S}
        news: dict[tuple[str, str], Override] = {}
        for word in words:
            key = (word.model_group, word.deployment)
            if now < word.since + LONGEST_S and (key not in heard or _sort_key(heard[key]) < _sort_key(word)):
                heard[key] = news[key] = word
        self._newest = heard
        held = {key: word for key, word in heard.items() if word.tier is not None and now < word.expires}
        if held != self._in_force:
            self._in_force = MappingProxyType(held)
        return tuple(word for word in news.values() if now < word.expires)

    def expire(self, now: float) -> None:
        """Let go of what holds no longer."""
        self.merge((), now)

    @property
    def known(self) -> tuple[Override, ...]:
        """The newest word about each deployment, whether or not it still holds."""
        return tuple(self._newest.values())

    @property
    def in_force(self) -> tuple[Override, ...]:
        """The words that give a tier, by model group and deployment, in whichever order they came."""
        return tuple(word for _, word in sorted(self._in_force.items()))

    def apply(self, snapshot: Snapshot) -> Snapshot:
        """What is in force: the measured snapshot, with the operators' words over it; made once for each."""
        words = self._in_force
        if not words:
            return snapshot
        laid = self._applied
        if laid is None or laid[0] is not snapshot or laid[1] is not words:
            # Two threads may both make it: they make equal ones.
            laid = self._applied = (snapshot, words, _apply_all(snapshot, words))
        return laid[2]


def _sort_key(word: Override) -> tuple[float, str]:
    """Words of one time are put in order too, so that everybody keeps the same one."""
    return word.since, word.word.value


def _apply_all(snapshot: Snapshot, words: Mapping[tuple[str, str], Override]) -> Snapshot:
    by_group: dict[str, dict[str, Override]] = {}
    for word in words.values():
        by_group.setdefault(word.model_group, {})[word.deployment] = word
    changed = {name: _group(snapshot.groups.get(name), name, told) for name, told in by_group.items()}
    return replace(snapshot, groups=MappingProxyType({**snapshot.groups, **changed}))


def _group(group: GroupSnapshot | None, name: str, words: Mapping[str, Override]) -> GroupSnapshot:
    """A model group with words on some of its deployments, judged already or not."""
    if group is None:
        group = GroupSnapshot(name, at=min(word.since for word in words.values()))
    measured = group.verdicts

    def verdict(deployment: str) -> Verdict:
        word = words.get(deployment)
        return measured[deployment] if word is None else apply_override(measured.get(deployment), word)

    return replace(group, verdicts=LazyMapping(dict.fromkeys([*measured, *words]), verdict))


def apply_override(verdict: Verdict | None, word: Override) -> Verdict:
    """What an operator makes of a verdict; None: of a deployment that was never judged.

    It is not probed: whoever gives it a tier does not ask for measurements.
    """
    verdict = verdict or Verdict(word.deployment, Tier.INSUFFICIENT_DATA)
    if word.tier is None:
        return verdict
    values = {name: getattr(verdict, name) for name in _MEASURED}
    values |= {"tier": word.tier, "since": word.since, "probe_share": 0.0, "probe_budget": 0.0}
    values["reasons"] = (Reason(ReasonCode.OVERRIDE), *verdict.reasons)
    return OverriddenVerdict(**values, override=word, measured=verdict.tier)
