"""Metrics that are observed only: token burn, queue time, throughput spread.

Sums by the hour, in memory. No tier, reason or order depends on them, because none of these metrics is sufficient
evidence of a fault of the deployment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.core.stats.log_bins import BINS, bin_of, edges
from exacto_plugin.core.wire import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from exacto_plugin.core.model import DeploymentKey, Sample

HOUR_S = 3600.0
HOURS = 24
"""Hours that are retained: a day, so that it includes a deployment's quiet hours."""
RECENT = 2
"""Newest hours that queue time and spread are computed from: the current and
the previous one."""

BURN_FLAG = 0.3
"""Token burn from which a deployment is flagged.
Source: OpenRouter, 30 % over the median on the same tasks."""
BURN_ANSWERS = 200
"""Answers from which token burn is reported.
Measured with log-normal lengths (sigma 1): of equal deployments 1.5 % are flagged at 200 answers each, 5 % at 100
and 0.4 % at 400; one of five that burns 50 % more is flagged in 93 %."""
STRATUM_ANSWERS = 20
"""Answers of another deployment to a kind of request from which its mean is
used for comparison."""
ANSWERS = 20
"""Answers from which queue time and spread are reported."""
QUIET_ANSWERS = 10
"""Answers within an hour from which its shortest times to the first token are
used."""
QUIET_SHARE = 0.1
"""Share of an hour's answers that are taken as unqueued; a quantile, so that
one outlier has no effect."""
DEPLOYMENTS = 20_000
"""Largest number of observed deployments; more can occur only with names that
callers choose under a wildcard."""
MIN_OUTPUT_TOKENS = 100
"""Output tokens from which an answer has a speed; equal to the signal's."""

_PROMPT_EDGES = (1_000, 4_000, 16_000, 64_000)
"""Ends, in tokens, of all size classes of prompts but the last.
Prompts of one class are comparable."""


@wire("token_burn burn_answers queue_s queue_p90_s queue_answers throughput_spread throughput_answers")
@dataclass(frozen=True, slots=True)
class Observed:
    """Metrics of one deployment; None: too few answers."""

    token_burn: float | None = None
    """Excess of output tokens over the median of the other deployments on
    comparable requests, as a share: 0.3 is 30 % more."""
    burn_answers: int = 0
    queue_s: float | None = None
    """Median excess of seconds to the first token over the same deployment's quiet
    hours."""
    queue_p90_s: float | None = None
    """The same excess, exceeded by a tenth of the answers."""
    queue_answers: int = 0
    throughput_spread: float | None = None
    """Standard deviation of the logarithm of output tokens per second.
    0.1 is about 10 %."""
    throughput_answers: int = 0

    @property
    def burns(self) -> bool:
        """True if token burn is flagged."""
        return self.token_burn is not None and self.token_burn >= BURN_FLAG


class QueueTimes(NamedTuple):
    """Shortest times to the first token of one hour, for one class of prompts."""

    answers: int
    quick_s: float


@dataclass(slots=True)
class Hour:
    """Sums of one deployment in one hour."""

    number: int
    burnt: dict[int, list[int]] = field(default_factory=dict)
    """Answers and output tokens, by kind of request."""
    queue_times: dict[int, int] = field(default_factory=dict)
    """Histogram of seconds to the first token, by ``class * BINS + bin``.
    Cleared when the hour is no longer recent."""
    quick: dict[int, QueueTimes] = field(default_factory=dict)
    """Shortest times to the first token, by class of prompts; set when
    ``queue_times`` is cleared."""
    speeds: list[list[float]] = field(default_factory=lambda: [[0, 0.0, 0.0], [0, 0.0, 0.0]])
    """Sums for whole and for streamed answers.
    Each has the number of answers, then sum and sum of squares of the logarithm of their speed."""

    def close(self) -> None:
        """Reduce ``queue_times`` to the shortest times of each class of prompts."""
        self.quick = dict(_quick(self.queue_times))
        self.queue_times = {}


class ObservedMetrics:
    """Counters of every deployment's answers, by the hour."""

    __slots__ = ("_hours", "_most")

    def __init__(self, most: int = DEPLOYMENTS) -> None:
        self._hours: dict[tuple[str, DeploymentKey], list[Hour]] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self._hours)

    def add(self, sample: Sample) -> None:
        """Count one answer.

        Of pinned deployments only speed and latency are comparable.
        """
        if not sample.ok or sample.output_tokens <= 0:
            return
        key = (sample.model_group, sample.deployment)
        if key not in self._hours and len(self._hours) >= self._most:
            return
        hour = self._hour(key, int(sample.at // HOUR_S))
        prompt = _prompt_class(sample.input_tokens)
        if sample.routed:
            kind = prompt * 8 + (1 + min(3, max(0, sample.complexity)) if sample.tools_offered else 0)
            sums = hour.burnt.setdefault(kind, [0, 0])
            sums[0] += 1
            sums[1] += sample.output_tokens
        first_s = sample.first_token_s
        if first_s is not None and 0 < first_s < math.inf:
            cell = prompt * BINS + bin_of(first_s)
            hour.queue_times[cell] = hour.queue_times.get(cell, 0) + 1
        if sample.output_tokens >= MIN_OUTPUT_TOKENS and 0 < sample.duration_s < math.inf:
            speed = math.log(sample.output_tokens / sample.duration_s)
            sums_of = hour.speeds[sample.streamed]
            sums_of[0] += 1
            sums_of[1] += speed
            sums_of[2] += speed * speed

    def _hour(self, key: tuple[str, DeploymentKey], number: int) -> Hour:
        hours = self._hours.get(key)
        if hours is None:
            hours = self._hours[key] = []
        # Answers arrive nearly in order: a slightly late one is counted in the current hour.
        if not hours or hours[-1].number < number:
            hours.append(Hour(number))
            for old in hours[:-RECENT]:
                if old.queue_times:
                    old.close()
            del hours[:-HOURS]
        return hours[-1]

    def of(self, model_group: str, deployments: Iterable[DeploymentKey], now: float) -> dict[DeploymentKey, Observed]:
        """Compute the metrics of deployments of a model group.

        The deployments are compared with each other.
        """
        number = int(now // HOUR_S)
        hours = {
            name: [hour for hour in self._hours.get((model_group, name), ()) if hour.number > number - HOURS]
            for name in deployments
        }
        burnt = {name: _added(hour.burnt for hour in some) for name, some in hours.items()}
        return {name: _observed(name, some, burnt, number) for name, some in hours.items()}

    def groups(self) -> dict[str, list[DeploymentKey]]:
        """Return the deployments with answers in the retained hours, by model group."""
        found: dict[str, list[DeploymentKey]] = {}
        for group, deployment in self._hours:
            found.setdefault(group, []).append(deployment)
        return found

    def forget(self, now: float) -> None:
        """Drop deployments without answers in the retained hours."""
        first = int(now // HOUR_S) - HOURS
        self._hours = {key: hours for key, hours in self._hours.items() if hours[-1].number > first}


def _prompt_class(tokens: int) -> int:
    return sum(tokens >= edge for edge in _PROMPT_EDGES)


def _added(sums: Iterable[Mapping[int, Sequence[int]]]) -> dict[int, tuple[int, int]]:
    total: dict[int, tuple[int, int]] = {}
    for one in sums:
        for kind, (answers, tokens) in one.items():
            before = total.get(kind, (0, 0))
            total[kind] = (before[0] + answers, before[1] + tokens)
    return total


def _observed(
    key: DeploymentKey,
    hours: Sequence[Hour],
    burnt: Mapping[DeploymentKey, Mapping[int, tuple[int, int]]],
    number: int,
) -> Observed:
    recent = [hour for hour in hours if hour.number > number - RECENT]
    others = [kinds for other, kinds in burnt.items() if other != key]
    burn, answers = _burn(burnt[key], others)
    queue = _queue(hours, recent)
    return Observed(burn, answers, *queue, *_spread(recent))


def _burn(
    own: Mapping[int, tuple[int, int]], others: Sequence[Mapping[int, tuple[int, int]]]
) -> tuple[float | None, int]:
    """Compute token burn against the median of the others, and its answers.

    The expected tokens are those of the median of the others for the same kinds of requests.
    """
    answers = tokens = 0
    expected = 0.0
    for kind, (count, total) in own.items():
        means = [one[kind][1] / one[kind][0] for one in others if one.get(kind, (0, 0))[0] >= STRATUM_ANSWERS]
        if means:
            answers += count
            tokens += total
            expected += count * median(means)
    return (tokens / expected - 1.0 if answers >= BURN_ANSWERS else None), answers


def _quick(waits: Mapping[int, int]) -> Iterator[tuple[int, QueueTimes]]:
    for prompt in sorted({cell // BINS for cell in waits}):
        cells = sorted((cell % BINS, count) for cell, count in waits.items() if cell // BINS == prompt)
        answers = sum(count for _, count in cells)
        if answers >= QUIET_ANSWERS:
            yield (
                prompt,
                QueueTimes(
                    answers, _exceeded_by(((_bin_middle(place), count) for place, count in cells), 1 - QUIET_SHARE)
                ),
            )


def _queue(hours: Sequence[Hour], recent: Sequence[Hour]) -> tuple[float | None, float | None, int]:
    """Compute queue time: median, 90th percentile, and the number of answers.

    Queue time is the excess over the shortest times of the quietest hour, for prompts of the same class.
    """
    own: dict[int, float] = {}
    for hour in hours:
        for prompt, waits in (dict(_quick(hour.queue_times)) if hour.queue_times else hour.quick).items():
            own[prompt] = min(waits.quick_s, own.get(prompt, math.inf))
    beyond = sorted(
        (max(0.0, _bin_middle(cell % BINS) - own[cell // BINS]), count)
        for hour in recent
        for cell, count in hour.queue_times.items()
        if cell // BINS in own
    )
    answers = sum(count for _, count in beyond)
    if answers < ANSWERS:
        return None, None, answers
    return _exceeded_by(beyond, 0.5), _exceeded_by(beyond, 0.1), answers


def _bin_middle(place: int) -> float:
    """Return the geometric middle of a bin."""
    low, high = edges(place)
    return math.sqrt(low * high)


def _exceeded_by(counted: Iterable[tuple[float, int]], share: float) -> float:
    """Return the least value that at most a share of the samples exceed.

    The samples are in ascending order.
    """
    values = list(counted)
    left = sum(count for _, count in values)
    most = left * share
    for value, count in values:
        left -= count
        if left <= most:
            return value
    return math.nan


def _spread(recent: Sequence[Hour]) -> tuple[float | None, int]:
    """Compute the pooled standard deviation within streamed and whole answers."""
    squares, freedom, answers = 0.0, 0, 0
    for mode in (0, 1):
        count, total, squared = (sum(hour.speeds[mode][part] for hour in recent) for part in range(3))
        answers += int(count)
        if count >= 2:
            squares += max(0.0, squared - total * total / count)
            freedom += int(count) - 1
    return (math.sqrt(squares / freedom) if answers >= ANSWERS and freedom else None), answers
