"""The states that alerts are about, read from the verdicts in force. Without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.model import Tier
from exacto_plugin.core.routing.filters import matches
from exacto_plugin.core.windows.observed import BURN_FLAG
from exacto_plugin.sharing.alert_states import AlertState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exacto_plugin.core.model import Candidate, DeploymentKey, GroupSnapshot, Verdict
    from exacto_plugin.core.windows.observed import Observed

FLAPS = 4
"""Changes of tier within an hour beyond which a deployment flaps; as in examples/monitoring/alerts.yml."""
_STALE_INTERVALS = 3.0
"""Recompute intervals after which verdicts are stale: two may be missed while a leader is replaced."""
_STALE_S = 60.0
"""Least age in seconds of stale verdicts: with short intervals a busy process misses some."""
_BURN_ENDS = BURN_FLAG * 2 / 3
"""Token burn below which it is normal again, lower than the flag, so that one at the flag is told once."""
_TELL_LATE_S = 60.0
"""Seconds, beside two recomputes, for which a derank without a known earlier state is told."""


class AlertKind(StrEnum):
    """The kinds of alerts; values of ``exacto.alert``."""

    DERANK = "derank"
    READMISSION = "readmission"
    NO_VERIFIED = "no_verified_deployment"
    CURATED = "curated_list"
    COMMON_CAUSE = "common_cause"
    TOKEN_BURN = "token_burn"
    STALE = "stale_snapshot"
    FEATURE_OFF = "feature_off"
    FLAPPING = "flapping"


class Subject(StrEnum):
    """The things whose states are watched."""

    TIER = "tier"
    VERIFIED = "verified"
    CURATED = "curated"
    COMMON_CAUSE = "common_cause"
    BURN = "burn"
    STALE = "stale"
    FEATURE = "feature"
    FLAPPING = "flapping"


_NORMAL = "normal"
_ALARMING = {
    Subject.TIER: AlertKind.DERANK,
    Subject.CURATED: AlertKind.CURATED,
    Subject.COMMON_CAUSE: AlertKind.COMMON_CAUSE,
    Subject.BURN: AlertKind.TOKEN_BURN,
    Subject.STALE: AlertKind.STALE,
    Subject.FEATURE: AlertKind.FEATURE_OFF,
    Subject.FLAPPING: AlertKind.FLAPPING,
}


class Watched(NamedTuple):
    """A state that may change, and its time."""

    subject: Subject
    model_group: str
    name: str
    """A deployment or a feature; empty for a whole model group."""
    state: str
    at: float
    is_normal: bool
    """True for a state that no alert is about."""
    fresh: bool = True
    """True if the state began lately, so that an alert is due though no earlier state is known."""
    detail: str = ""

    @property
    def key(self) -> str:
        """The name under which the state is kept."""
        return "/".join((self.subject, self.model_group, self.name))

    @property
    def kept(self) -> AlertState:
        """The state as it is kept.

        A verified deployment is kept too, since its end is told.
        """
        return AlertState(self.state, self.at, self.is_normal and self.subject is not Subject.VERIFIED)


def _watched(
    subject: Subject, model_group: str, name: str, at: float, *, alarm: str = "", detail: str = "", fresh: bool = True
) -> Watched:
    """Return a state that is normal without an ``alarm``."""
    return Watched(subject, model_group, name, alarm or _NORMAL, at, not alarm, fresh, detail)


def kind_of_change(watched: Watched, previous: str | None) -> AlertKind | None:
    """Return the kind of alert that a change of state is; None for none.

    Args:
        watched: the new state.
        previous: the earlier one; None if none is known.
    """
    if watched.subject is Subject.VERIFIED:
        return AlertKind.NO_VERIFIED if previous == _NORMAL and not watched.is_normal else None
    if watched.is_normal:
        readmitted = watched.subject is Subject.TIER and previous == Tier.DERANKED
        return AlertKind.READMISSION if readmitted else None
    return _ALARMING[watched.subject] if watched.fresh or previous is not None else None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """One model group's verdicts, deployments and curated list."""

    snapshot: GroupSnapshot
    candidates: Sequence[Candidate]
    curated: Sequence[str] | None
    observed: Mapping[str, Observed]
    changes: Mapping[str, int] | None
    """Changes of tier within the last hour, by deployment; None: not known."""
    interval_s: float
    """Seconds between two recomputes."""


def states_of_group(facts: GroupFacts, now: float) -> Iterator[Watched]:
    """Yield the states of one model group; ``now`` in UTC seconds."""
    group = facts.snapshot
    name, at, lately = group.model_group, group.at, now - 2 * facts.interval_s - _TELL_LATE_S
    for key, verdict in group.verdicts.items():
        deranked = verdict.tier is Tier.DERANKED
        yield Watched(Subject.TIER, name, key, verdict.tier.value, at, not deranked, verdict.since >= lately)
        yield from _burn(name, key, facts.observed.get(key), now)
        if facts.changes is not None:
            flaps = facts.changes.get(key, 0) > FLAPS
            yield _watched(Subject.FLAPPING, name, key, now, alarm="flapping" if flaps else "")
    verified = any(one.tier is Tier.VERIFIED_GOOD for one in group.verdicts.values())
    yield _watched(Subject.VERIFIED, name, "", at, alarm="" if verified else "none")
    cause = group.common_cause
    lasts = cause is not None and cause.end is None
    began = f"{cause.begin or 0.0:.0f}" if cause is not None and lasts else ""
    yield _watched(Subject.COMMON_CAUSE, name, "", at, alarm=began)
    if facts.curated is not None and facts.candidates:
        missing = ", ".join(_broken_entries(facts.curated, facts.candidates, group.verdicts))
        yield _watched(Subject.CURATED, name, "", at, alarm="broken" if missing else "", detail=missing)


def _burn(model_group: str, key: str, seen: Observed | None, now: float) -> Iterator[Watched]:
    """Yield the state of a deployment's token burn.

    Between both limits it does not change.
    """
    if seen is None or seen.token_burn is None or (seen.token_burn >= _BURN_ENDS and not seen.burns):
        return
    detail = f"{seen.token_burn:.0%} more output tokens than the median of the others on like requests"
    yield _watched(Subject.BURN, model_group, key, now, alarm="burns" if seen.burns else "", detail=detail)


def stale_after_s(interval_s: float) -> float:
    """Return the age in seconds from which verdicts are stale."""
    return max(_STALE_S, _STALE_INTERVALS * interval_s)


def staleness(group: GroupSnapshot, now: float, interval_s: float) -> Watched:
    """Return whether a group's verdicts are stale."""
    age_s = now - group.at
    alarm = "stale" if age_s > stale_after_s(interval_s) else ""
    return _watched(Subject.STALE, group.model_group, "", now, alarm=alarm, detail=f"{age_s:.0f} seconds old")


def feature_state(name: str, now: float, *, on: bool) -> Watched:
    """Return the state of a feature."""
    return _watched(Subject.FEATURE, "", name, now, alarm="" if on else "off")


def _broken_entries(
    entries: Iterable[str], candidates: Sequence[Candidate], verdicts: Mapping[DeploymentKey, Verdict]
) -> list[str]:
    """Return the entries of a curated list without a deployment that is not deranked."""
    fit = [one for one in candidates if one.key not in verdicts or verdicts[one.key].tier is not Tier.DERANKED]
    return [entry for entry in entries if not any(matches(entry, one) for one in fit)]
