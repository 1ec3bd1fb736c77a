"""Counts each flaw per deployment, since the process started and recently.

The counts are for operators and no input to tiers, which use the windows. Holds numbers only.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from exacto_plugin.core.model import Blame, Flaw, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exacto_plugin.core.model import Sample

BLAME: Final[Mapping[Flaw, Blame]] = {
    Flaw.INVALID_JSON: Blame.PROVIDER,
    Flaw.UNKNOWN_NAME: Blame.PROVIDER,
    Flaw.SCHEMA_MISMATCH: Blame.PROVIDER,
    Flaw.MISSING_CALL: Blame.PROVIDER,
    Flaw.LEAKED_MARKUP: Blame.PROVIDER,
    Flaw.IGNORED_CHOICE: Blame.PROVIDER,
    Flaw.DUPLICATE_ID: Blame.PROVIDER,
    Flaw.BROKEN_SCHEMA: Blame.CALLER,
    Flaw.CONTRADICTORY_CHOICE: Blame.CALLER,
    Flaw.BROKEN_HISTORY: Blame.CALLER,
    Flaw.TRUNCATED: Blame.LIMIT,
    Flaw.FILTERED: Blame.LIMIT,
    Flaw.DISCONNECTED: Blame.CLIENT,
    Flaw.EMPTY: Blame.PROVIDER,
    Flaw.REASONING_ONLY: Blame.PROVIDER,
    Flaw.CORRUPT: Blame.PROVIDER,
    Flaw.PROVIDER_ERROR: Blame.PROVIDER,
    Flaw.NO_USAGE: Blame.PROVIDER,
}
"""The party that each flaw alone is attributed to."""

HIDDEN: Final = (Flaw.MISSING_CALL, Flaw.LEAKED_MARKUP, Flaw.IGNORED_CHOICE, Flaw.DUPLICATE_ID)
"""The provider's flaws that the published error rate does not include.
That rate covers the calls that arrived, one by one."""

LOSSES: Final = (Flaw.MISSING_CALL, Flaw.LEAKED_MARKUP, Flaw.IGNORED_CHOICE)
"""Flaws with which an intended or required call did not arrive.
Measured on the published K2 table of 2025-10-10: two vendors with 0.1 % and 0.2 % schema errors lose 9.7 % and 10.3 %
of their answers in other finish reasons. Tiers by schema errors alone reduce the combined failures from 20.4 % to
14.2 %, tiers by the combined rate to 2.74 %. A duplicate id loses no call, so it is counted but no loss."""

FLAW_OF: Final = {
    Outcome.INVALID_JSON: Flaw.INVALID_JSON,
    Outcome.UNKNOWN_NAME: Flaw.UNKNOWN_NAME,
    Outcome.SCHEMA_MISMATCH: Flaw.SCHEMA_MISMATCH,
}
"""The flaw that a bad outcome of a call stands for."""

_COLUMN_OF: Final = {flaw: place for place, flaw in enumerate(Flaw)}


def flaw_of(outcome: Outcome, reason: str) -> Flaw | None:
    """Return the flaw of one call's outcome; None if it has none."""
    if outcome in (Outcome.VALID, Outcome.UNSCORED):
        return Flaw.BROKEN_SCHEMA if reason in ("not_compilable", "unsatisfiable") else None
    return FLAW_OF.get(outcome)


WINDOWS_S: Final = (3600.0, 86_400.0)
"""The windows of throughput, which are also two of those of tool calls."""
_PERIODS: Final = ((300, 13), (3600, 25))
"""Seconds and number of the periods of each window, with the current one."""
_DEPLOYMENTS: Final = 20_000
"""Largest number of deployments; more can occur only with names that callers choose under a wildcard."""


class FlawShares(NamedTuple):
    """Flaws of the answers of one window."""

    window_s: float
    answers: int
    """Finished answers, and failures that were reported inside an answer."""
    counts: dict[Flaw, int]
    """Answers with each flaw, without zeros."""
    since: float | None = None
    """Time of the first answer that was counted, where that is within the window; else None."""


class _Deployment:
    """The counts of one deployment, 250 bytes and 150 for each period with a flaw."""

    __slots__ = ("answers", "first", "flawed", "stamps")

    def __init__(self) -> None:
        periods = sum(number for _, number in _PERIODS)
        self.stamps = array("I", bytes(4 * periods))
        """Number of the period at each place."""
        self.answers = array("I", bytes(4 * periods))
        self.flawed: dict[int, array[int]] = {}
        """Counts of each flaw, by place."""
        self.first = math.inf
        """Time of the first answer, UTC seconds."""

    def add(self, sample: Sample) -> None:
        self.first = min(self.first, sample.at)
        first = 0
        for width_s, number in _PERIODS:
            period = max(0, int(sample.at // width_s))
            place = first + period % number
            first += number
            if self.stamps[place] > period:
                continue  # too late for this window
            if self.stamps[place] != period:
                self.stamps[place], self.answers[place] = period, 0
                self.flawed.pop(place, None)
            self.answers[place] += 1
            for flaw in sample.flaws:
                counts = self.flawed.setdefault(place, array("I", bytes(4 * len(Flaw))))
                counts[_COLUMN_OF[flaw]] += 1

    def shares(self, now: float) -> list[FlawShares]:
        found, first = [], 0
        for window_s, (width_s, number) in zip(WINDOWS_S, _PERIODS, strict=True):
            current = int(now // width_s)
            there = [
                place for place in range(first, first + number) if current - number < self.stamps[place] <= current
            ]
            first += number
            # Another thread may be adding: a period can lose its counts at any time.
            counted = [held for place in there if (held := self.flawed.get(place)) is not None]
            counts = {flaw: sum(one[column] for one in counted) for flaw, column in _COLUMN_OF.items()}
            answers = sum(self.answers[place] for place in there)
            since = self.first if self.first > now - window_s else None
            found.append(FlawShares(window_s, answers, {flaw: count for flaw, count in counts.items() if count}, since))
        return found


class FlawRates:
    """The rates of all deployments of one process.

    >>> from exacto_plugin.core.model import DeploymentKey, Sample
    >>> rates = FlawRates()
    >>> rates.add(Sample("kimi", DeploymentKey("a"), 0.0, flaws=(Flaw.EMPTY,)))
    >>> rates.add(Sample("kimi", DeploymentKey("a"), 7200.0))
    >>> [(one.answers, one.counts) for one in rates.of("kimi", "a", 7200.0)]
    [(1, {}), (2, {<Flaw.EMPTY: 'empty'>: 1})]
    >>> [one.since for one in rates.of("kimi", "a", 7200.0)]
    [None, 0.0]
    """

    def __init__(self, most: int = _DEPLOYMENTS) -> None:
        self._most = most
        self._counts: dict[tuple[str, str], _Deployment] = {}

    def add(self, sample: Sample) -> None:
        """Count one answer; a failure counts if it was reported inside an answer."""
        if not (sample.ok or sample.flaws):
            return
        key = (sample.model_group, sample.deployment)
        counts = self._counts.get(key)
        if counts is None:
            if len(self._counts) >= self._most:
                return
            counts = self._counts[key] = _Deployment()
        counts.add(sample)

    def of(self, model_group: str, deployment: str, now: float) -> list[FlawShares]:
        """Return the flaws of one deployment in ``WINDOWS_S``; empty without answers."""
        counts = self._counts.get((model_group, deployment))
        return [one for one in ([] if counts is None else counts.shares(now)) if one.answers]

    def retain(self, served: Iterable[tuple[str, str]]) -> None:
        """Forget all but some deployments, given by model group and name."""
        self._counts = {key: self._counts[key] for key in served if key in self._counts}


class FlawCounts:
    """Counts per model group and deployment, about 300 bytes for each with a flaw.

    A deployment without a flaw takes no memory.
    """

    def __init__(self) -> None:
        self._total = _zeros()
        self._counts: dict[tuple[str, str], array[int]] = {}
        self.rates = FlawRates()
        """Their rates over the last hour and day, of the answers that count for tiers."""

    def add(self, model_group: str, deployment: str, flaws: Iterable[Flaw]) -> None:
        """Count the flaws of one answer."""
        counts = self._counts.get((model_group, deployment))
        if counts is None:
            counts = self._counts.setdefault((model_group, deployment), _zeros())
        for flaw in flaws:
            counts[_COLUMN_OF[flaw]] += 1
            self._total[_COLUMN_OF[flaw]] += 1

    def deployments(self) -> set[tuple[str, str]]:
        """Return model group and name of every deployment with a flaw."""
        return set(self._counts)

    def drop(self, gone: Iterable[tuple[str, str]]) -> None:
        """Remove some deployments; the totals stay."""
        for key in gone:
            self._counts.pop(key, None)

    def of(self, model_group: str, deployment: str) -> dict[Flaw, int]:
        """Return the nonzero counts of one deployment."""
        return _named(self._counts.get((model_group, deployment), ()))

    @property
    def total(self) -> dict[Flaw, int]:
        """The counts of every flaw over all deployments."""
        return dict(zip(Flaw, self._total, strict=True))

    @property
    def by_blame(self) -> dict[Blame, int]:
        """The totals by the party that each flaw alone is attributed to."""
        sums = dict.fromkeys(Blame, 0)
        for flaw, count in self.total.items():
            sums[BLAME[flaw]] += count
        return sums


def _zeros() -> array[int]:
    return array("Q", bytes(8 * len(Flaw)))


def _named(counts: Iterable[int]) -> dict[Flaw, int]:
    return {flaw: count for flaw, count in zip(Flaw, counts, strict=False) if count}
