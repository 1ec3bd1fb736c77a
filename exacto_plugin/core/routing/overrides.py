"""Operators' overrides: a tier for a limited time, with a reason.

Overrides are applied on top of a snapshot. The measured verdicts are kept and reappear when the override expires or
is removed. Computes no verdict and uses no clock and no store.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from exacto_plugin.core.lazy import LazyMapping
from exacto_plugin.core.model import DeploymentKey, GroupSnapshot, Reason, ReasonCode, Snapshot, Tier, Verdict
from exacto_plugin.core.wire import to_wire, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_S = 30 * 86_400.0
"""Longest duration of an override, in seconds (30 days); the plugin's own choice.
A lasting decision belongs in the configuration."""


class OverrideAction(StrEnum):
    """The action of an override."""

    GOOD = "good"
    DERANKED = "deranked"
    RESET = "reset"
    """Removes the previous override."""


_TIERS = {OverrideAction.GOOD: Tier.VERIFIED_GOOD, OverrideAction.DERANKED: Tier.DERANKED}


@wire("model_group deployment word reason author since expires")
@dataclass(frozen=True, slots=True)
class Override:
    """One override of one deployment of one model group. Times are UTC seconds."""

    model_group: str
    deployment: DeploymentKey
    word: OverrideAction
    reason: str
    """The operator's own words."""
    author: str
    """Salted hash of the author's identity."""
    since: float
    expires: float

    @property
    def tier(self) -> Tier | None:
        """The tier that the override sets; None for ``reset``."""
        return _TIERS.get(self.word)

    def as_plain(self) -> dict[str, str | float]:
        """Return the override as values that JSON can represent."""
        return to_wire(self) | {"word": self.word.value}


def override_of(plain: Mapping[str, object]) -> Override:
    """Rebuild an override from the output of ``as_plain``; further keys are ignored.

    Raises:
        ValueError: a value is missing or of the wrong type.
    """
    texts = [plain.get(name) for name in ("model_group", "deployment", "word", "reason", "author")]
    times = [plain.get(name) for name in ("since", "expires")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text of an override is missing")
    group, deployment, word, reason, author = map(str, texts)
    since, expires = (float(at) if isinstance(at, int | float) else float("nan") for at in times)
    if not since <= expires:
        raise ValueError("a time of an override is missing")
    return Override(group, DeploymentKey(deployment), OverrideAction(word), reason, author, since, expires)


@dataclass(frozen=True, slots=True)
class OverriddenVerdict(Verdict):
    """A verdict with an operator's tier.

    ``reasons`` begins with ``override``; the measured reasons follow.
    """

    override: Override | None = None
    measured: Tier = Tier.INSUFFICIENT_DATA
    """The tier without the override."""


_MEASURED = tuple(field.name for field in fields(Verdict))


class Overrides:
    """The overrides in force. Mappings are replaced as a whole, so reads need no lock."""

    __slots__ = ("_applied", "_in_force", "_newest")

    def __init__(self) -> None:
        self._newest: dict[tuple[str, DeploymentKey], Override] = {}
        """The newest override of each deployment, by model group and deployment.
        See ``merge``."""
        self._in_force: Mapping[tuple[str, DeploymentKey], Override] = MappingProxyType({})
        """Those of the newest overrides that set a tier now."""
        self._applied: tuple[Snapshot, Mapping[tuple[str, DeploymentKey], Override], Snapshot] | None = None
        """A snapshot, the overrides, and the snapshot with the overrides applied."""

    def merge(self, words: Iterable[Override], now: float) -> tuple[Override, ...]:
        """Merge overrides from any source, in any order and any number of times.

        The newest override of a deployment holds until it expires; an older one does not come back, even if it
        arrives again from a process that missed the newer one. For that reason overrides are stored for longer than
        they hold.

        Returns:
            The overrides that are new and have not expired.
        """
        heard = {key: word for key, word in self._newest.items() if now < word.since + LONGEST_S}
        news: dict[tuple[str, DeploymentKey], Override] = {}
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
        """Remove the overrides that no longer hold."""
        self.merge((), now)

    @property
    def known(self) -> tuple[Override, ...]:
        """The newest override of each deployment, expired or not."""
        return tuple(self._newest.values())

    @property
    def in_force(self) -> tuple[Override, ...]:
        """The overrides that set a tier, sorted by model group and deployment."""
        return tuple(word for _, word in sorted(self._in_force.items()))

    def apply(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot with the overrides applied; computed once per snapshot."""
        words = self._in_force
        if not words:
            return snapshot
        laid = self._applied
        if laid is None or laid[0] is not snapshot or laid[1] is not words:
            # Two threads may both compute it; the results are equal.
            laid = self._applied = (snapshot, words, _apply_all(snapshot, words))
        return laid[2]


def _sort_key(word: Override) -> tuple[float, str]:
    """Return the sort key; overrides of equal time have one order in every process."""
    return word.since, word.word.value


def _apply_all(snapshot: Snapshot, words: Mapping[tuple[str, DeploymentKey], Override]) -> Snapshot:
    by_group: dict[str, dict[DeploymentKey, Override]] = {}
    for word in words.values():
        by_group.setdefault(word.model_group, {})[word.deployment] = word
    changed = {name: _group(snapshot.groups.get(name), name, told) for name, told in by_group.items()}
    return replace(snapshot, groups=MappingProxyType({**snapshot.groups, **changed}))


def _group(group: GroupSnapshot | None, name: str, words: Mapping[DeploymentKey, Override]) -> GroupSnapshot:
    """Return a model group with overrides on some deployments, measured or not."""
    if group is None:
        group = GroupSnapshot(name, at=min(word.since for word in words.values()))
    measured = group.verdicts

    def verdict(deployment: DeploymentKey) -> Verdict:
        word = words.get(deployment)
        return measured[deployment] if word is None else apply_override(measured.get(deployment), word)

    return replace(group, verdicts=LazyMapping(dict.fromkeys([*measured, *words]), verdict))


def apply_override(verdict: Verdict | None, word: Override) -> Verdict:
    """Return a verdict with an override applied; None stands for no verdict yet.

    The deployment is not probed while the override holds, since the operator has set its tier.
    """
    verdict = verdict or Verdict(word.deployment, Tier.INSUFFICIENT_DATA)
    if word.tier is None:
        return verdict
    values = {name: getattr(verdict, name) for name in _MEASURED}
    values |= {"tier": word.tier, "since": word.since, "probe_share": 0.0, "probe_budget": 0.0}
    values["reasons"] = (Reason(ReasonCode.OVERRIDE), *verdict.reasons)
    return OverriddenVerdict(**values, override=word, measured=verdict.tier)
