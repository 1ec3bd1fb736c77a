"""Time of the change of a deployment's share of bad calls, from its counters.

A change of tier comes minutes to hours after its cause. The most likely time of the cause is found among the beginnings
of the counters' tiles, which are minutes for the last two hours, then 5 minutes, then half-hours: before it the share
is constant, after it constant as well or rising linearly from there (binomial likelihood; D. V. Hinkley, "Inference
about the change-point in a sequence of binomial variables", Biometrika 57, 1970). A sudden change has its most likely
time. The beginning of a rise shows in few bad calls, and its most likely time is late; it has the median of all times,
weighted by likelihood and length of their tiles. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.tiers.adaptive.history import read_series
from exacto_plugin.core.windows.increments import FAULTS, CounterKind
from exacto_plugin.core.windows.windows import ROWS
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.windows.windows import WindowBlock

    Floats = NDArray[np.float64]

HOUR_S = 3600.0

REACH_S = 86_400.0
"""Seconds before a change of tier in which its cause is looked for: the longest window of the adaptive rule."""

_COLUMNS = (
    CounterKind.OFFERED,
    CounterKind.CALLED,
    *FAULTS,
    CounterKind.LOST,
    CounterKind.PINNED_CALLED,
    CounterKind.PINNED_FAULTY,
)

_NAMES = ("answers", "calls", "bad", "invalid_json", "unknown_name", "schema_mismatch", "lost")

PRIOR_CALLS = 30.0
"""Calls at the peers' share that count with those before the change: a deployment may have had few."""

_LEAST_SHARE = 1e-4

_LEAST_RISE_S = 1800.0
"""Seconds to the change of tier from which a rise is told from a step: few calls of a shorter one tell nothing."""

_WITHIN = 3.5
"""Loss of log likelihood at the ends of the 95 % interval of a sudden change.

Half of the quantile of chi-square, 1.92, held 75 % of simulated slow rises, which look like sudden ones, and 88 to 94 %
of sudden changes; this holds 94 to 98 % of both (300 histories for each of 11 kinds; ``test_change_point``).
"""

_GRADUAL = 0.8
"""Posterior probability of a rise from which a change is called gradual; both forms are equally likely before."""

_TAILS = (0.025, 0.5, 0.975)
"""Quantiles of the posterior distribution: the 95 % interval and the median."""


class CallHistory(NamedTuple):
    """Counts of a deployment in tiles without gaps, oldest first, up to ``at``."""

    at: float
    """UTC seconds, as ``start``."""
    start: NDArray[np.int64]
    counts: NDArray[np.int64]
    """``[counter, tile]``, of ``_COLUMNS``."""

    @property
    def end(self) -> Floats:
        """The end of each tile."""
        return np.append(self.start[1:], self.at).astype(np.float64)

    def by_name(self) -> Mapping[str, NDArray[np.int64]]:
        """Return the counts of each tile as hourly counts name them."""
        offered, called, json, name, schema, lost = self.counts[:6]
        return dict(
            zip(
                _NAMES,
                (offered, called + lost, json + name + schema + lost, json, name, schema, lost),
                strict=True,
            )
        )

    def sums(self, since: float, until: float) -> dict[str, int]:
        """Return the counts of the tiles that began in a time range."""
        within = (self.start >= since) & (self.start < until)
        return {name: int(counts[within].sum()) for name, counts in self.by_name().items()}

    def since(self, at: float) -> CallHistory:
        """Leave out the tiles that ended before a time, which may lie within one."""
        kept = self.end[: len(self.start)] > at
        return CallHistory(self.at, self.start[kept], self.counts[:, kept])

    def judged(self) -> tuple[Floats, Floats]:
        """Return calls and bad calls of each tile.

        Router-chosen ones, by which the adaptive rule judges; all, where the router chose less than half of them.
        """
        called, json, name, schema, lost, pinned, pinned_bad = self.counts[1:].astype(np.float64)
        calls, bad = called + lost, json + name + schema + lost
        return (calls - pinned, bad - pinned_bad) if 2.0 * pinned.sum() <= calls.sum() else (calls, bad)


@wire(
    "at earliest latest gradual usual share calls bad before so_far called_until bad_until most_calls most_bad"
    " usual_calls calls_before"
)
@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The most likely time of a change, and the counts around it."""

    at: float
    """UTC seconds, as the next two, which are the ends of the 95 % interval."""
    earliest: float
    latest: float
    gradual: bool
    """True if the share changed little by little from ``at`` on."""
    usual: float
    """Share of bad calls before."""
    share: float
    """Share after it; at the end of a gradual change."""
    calls: int
    """Calls from ``at`` to the change of tier."""
    bad: int
    before: Mapping[str, int]
    """Counts of the hour of ``at`` up to ``at``, by the names of hourly counts."""
    so_far: Mapping[str, int]
    """Counts of the hour of the change of tier up to that change."""
    called_until: float | None = None
    """End of the last tile with calls before ``at``; None without one, as the next."""
    bad_until: float | None = None
    """End of the last tile with bad calls before ``at``."""
    most_calls: int | None = None
    """Calls from ``earliest`` to the change of tier; None in older records, as the next."""
    most_bad: int | None = None
    usual_calls: int | None = None
    """Calls before ``at`` on which ``usual`` rests; the peers' share counts with them as 30 calls."""
    calls_before: int | None = None
    """All calls before ``at``, also of the time before the last change of tier."""


def call_histories(blocks: Sequence[WindowBlock], slots: Sequence[int], now: float) -> list[CallHistory]:
    """Read the histories of some slots."""
    found: dict[int, CallHistory] = {}
    for number in sorted({slot // ROWS for slot in slots}):
        here = [slot for slot in slots if slot // ROWS == number]
        rows = np.array([slot % ROWS for slot in here], np.intp)
        start, counts = read_series(blocks[number], rows, now, REACH_S + HOUR_S, _COLUMNS)
        found |= {slot: CallHistory(now, start, counts[..., place]) for place, slot in enumerate(here)}
    return [found[slot] for slot in slots]


def change_point(history: CallHistory, since: float, usual: float | None, *, worse: bool) -> ChangePoint | None:
    """Return the time of a change; None where the calls show none.

    Args:
        history: of the deployment up to its change of tier.
        since: UTC seconds, for example of the last change of tier. A cause before it is looked for only where the share
            rose and the calls after it show none: a verdict follows from calls before its tier too.
        usual: the peers' share of bad calls; None if unknown.
        worse: True if the share of bad calls rose, False if it fell.
    """
    earliest = history.at - REACH_S
    found = _change_since(history, max(since, earliest), usual, worse=worse)
    if found is None and worse and since > earliest:
        return _change_since(history, earliest, usual, worse=worse)
    return found


def _change_since(history: CallHistory, since: float, usual: float | None, *, worse: bool) -> ChangePoint | None:
    recent = history.since(since)
    calls, bad = recent.judged()
    if not calls.sum() or not bad.sum():
        return None
    fits = [_step(calls, bad, usual, worse=worse)]
    if worse:
        fits.append(_slope(calls, bad, usual, (recent.start + recent.end) / 2.0, recent.start, recent.at))
    if not np.isfinite(max(fit.likelihood.max() for fit in fits)):
        return None
    form, place, earliest, latest = _place(np.array([fit.likelihood for fit in fits]), recent)
    at = float(recent.start[place])
    hour = at // HOUR_S * HOUR_S
    return ChangePoint(
        at,
        earliest,
        latest,
        form == 1,
        float(fits[form].usual[place]),
        float(fits[form].share[place]),
        int(calls[place:].sum()),
        int(bad[place:].sum()),
        history.sums(hour, at),
        history.sums(history.at // HOUR_S * HOUR_S, history.at),
        _last_end(calls[:place], recent),
        _last_end(bad[:place], recent),
        int(calls[recent.start >= earliest].sum()),
        int(bad[recent.start >= earliest].sum()),
        int(calls[:place].sum()),
        history.sums(0.0, at)["calls"],
    )


def _last_end(counts: Floats, steps: CallHistory) -> float | None:
    """Return the end of the last tile with a count; None without one."""
    found = np.flatnonzero(counts)
    return float(steps.end[found[-1]]) if len(found) else None


def _place(likelihood: Floats, steps: CallHistory) -> tuple[int, int, float, float]:
    """Return the form of a change, its tile, and the ends of its interval.

    ``likelihood`` is ``[form, tile]``, a step first, and finite somewhere.
    """
    best = likelihood.max()
    posterior = np.exp(likelihood - best) * (steps.end - steps.start)
    if posterior[1:].sum() >= _GRADUAL * posterior.sum():
        # Over both forms: whether a rise was sudden is often as uncertain as its time.
        parts = np.cumsum(posterior.sum(axis=0)) / posterior.sum()
        low, middle, high = (int(place) for place in np.searchsorted(parts, _TAILS))
        if np.isfinite(likelihood[1, middle]):
            return 1, middle, float(steps.start[low]), float(steps.end[high])
    within = np.flatnonzero((likelihood >= best - _WITHIN).any(axis=0))
    place = int(likelihood[0].argmax()) if np.isfinite(likelihood[0]).any() else int(likelihood[1].argmax())
    return (
        int(not np.isfinite(likelihood[0, place])),
        place,
        float(steps.start[within[0]]),
        float(steps.end[within[-1]]),
    )


class _Fit(NamedTuple):
    """For each place of the change: log likelihood, and both shares."""

    likelihood: Floats
    usual: Floats
    share: Floats


def _before(calls: Floats, bad: Floats, usual: float | None) -> tuple[Floats, Floats, Floats]:
    """Return calls, bad calls and their share before each place."""
    had = np.concatenate([[0.0], np.cumsum(calls)[:-1]])
    failed = np.concatenate([[0.0], np.cumsum(bad)[:-1]])
    given = bad.sum() / calls.sum() if usual is None else usual
    weight = 1.0 if usual is None else PRIOR_CALLS
    return had, failed, _share((failed + weight * given) / (had + weight))


def _share(share: Floats) -> Floats:
    return np.clip(share, _LEAST_SHARE, 1.0 - _LEAST_SHARE)


def _likelihood(calls: Floats, bad: Floats, share: Floats) -> Floats:
    found: Floats = bad * np.log(share) + (calls - bad) * np.log1p(-share)
    return found


def _step(calls: Floats, bad: Floats, usual: float | None, *, worse: bool) -> _Fit:
    had, failed, before = _before(calls, bad, usual)
    left, left_bad = calls.sum() - had, bad.sum() - failed
    after = _share(np.divide(left_bad, left, out=np.zeros(len(left)), where=left > 0))
    likelihood = _likelihood(had, failed, before) + _likelihood(left, left_bad, after)
    # A tile without calls cannot be told from the next one: the first with calls is meant.
    fits = (left > 0) & (calls > 0) & (after > before if worse else after < before)
    return _Fit(np.where(fits, likelihood, -np.inf), before, after)


def _slope(
    calls: Floats, bad: Floats, usual: float | None, middle: Floats, start: NDArray[np.int64], end: float
) -> _Fit:
    had, failed, before = _before(calls, bad, usual)
    # [place of the change, tile]
    elapsed = np.maximum(middle[np.newaxis] - start[:, np.newaxis], 0.0) * np.tri(len(calls)).T
    weight = elapsed @ calls
    more = bad.sum() - failed - before * (calls.sum() - had)
    slope = np.divide(more, weight, out=np.zeros(len(weight)), where=weight > 0)
    shares = _share(before[:, np.newaxis] + slope[:, np.newaxis] * elapsed)
    after = (_likelihood(calls, bad, shares) * np.tri(len(calls)).T).sum(axis=1)
    likelihood = _likelihood(had, failed, before) + after
    fits = (slope > 0) & (calls > 0) & (end - start >= _LEAST_RISE_S)
    return _Fit(np.where(fits, likelihood, -np.inf), before, _share(before + slope * (end - start)))
