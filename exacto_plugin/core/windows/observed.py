"""What is observed of deployments and never routed on: token burn, queue time, spread of the throughput.

Plain sums by the hour, in memory. Nothing here reaches a rule: no tier, reason or order may follow from it, because
none of these numbers says by itself that a deployment is at fault.
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

    from exacto_plugin.core.model import Sample

HOUR_S = 3600.0
HOURS = 24
"""Hours that are remembered: a day, so that a deployment's quiet hours are among them."""
RECENT = 2
"""Of those, the hours that queue time and spread are about: the one that runs and the one before."""

BURN_FLAG = 0.3
"""Token burn from which a deployment is flagged. Source: OpenRouter, 30 % over the median on the same tasks."""
BURN_ANSWERS = 200
"""Answers on which token burn is known. Measured with log-normal lengths (sigma 1): of equal deployments 1.5 % are
flagged at 200 answers each, 5 % at 100 and 0.4 % at 400; one of five that burns 50 % more is flagged in 93 %."""
STRATUM_ANSWERS = 20
"""Answers of another deployment to a kind of request, from which they are compared with."""
ANSWERS = 20
"""Answers on which queue time and spread are known."""
QUIET_ANSWERS = 10
"""Answers within an hour that tell the shortest waits of that hour."""
QUIET_SHARE = 0.1
"""The share of an hour's answers that are taken for unqueued: what a lucky few get, and not one outlier."""
DEPLOYMENTS = 20_000
"""Deployments that are observed at most; more can only come from names that callers invent under a wildcard."""
MIN_OUTPUT_TOKENS = 100
"""Output tokens from which an answer has a speed; the same as for the signal."""

_PROMPT_EDGES = (1_000, 4_000, 16_000, 64_000)
"""Prompts are comparable within a class of size; ends of all classes but the last, in tokens."""


@wire("token_burn burn_answers queue_s queue_p90_s queue_answers throughput_spread throughput_answers")
@dataclass(frozen=True, slots=True)
class Observed:
    """The numbers of one deployment; None: too few answers."""

    token_burn: float | None = None
    """Output tokens beyond the median of the other deployments on comparable requests, as a share: 0.3 is 30 % more."""
    burn_answers: int = 0
    queue_s: float | None = None
    """Seconds to the first token beyond what the same deployment needs in its quiet hours; the median."""
    queue_p90_s: float | None = None
    """The same, that a tenth of the answers exceed."""
    queue_answers: int = 0
    throughput_spread: float | None = None
    """Standard deviation of the logarithm of output tokens per second: 0.1 is about 10 %."""
    throughput_answers: int = 0

    @property
    def burns(self) -> bool:
        """Whether token burn is flagged."""
        return self.token_burn is not None and self.token_burn >= BURN_FLAG


class QueueTimes(NamedTuple):
    """The shortest waits of one hour for one class of prompts."""

    answers: int
    quick_s: float


@dataclass(slots=True)
class Hour:
    """What one deployment did in one hour."""

    number: int
    burnt: dict[int, list[int]] = field(default_factory=dict)
    """By kind of request: answers and output tokens."""
    queue_times: dict[int, int] = field(default_factory=dict)
    """Seconds to the first token, as ``class * BINS + bin``; emptied when the hour is no longer recent."""
    quick: dict[int, QueueTimes] = field(default_factory=dict)
    """What is left of ``waits`` then, by class of prompts."""
    speeds: list[list[float]] = field(default_factory=lambda: [[0, 0.0, 0.0], [0, 0.0, 0.0]])
    """Whole answers, streamed answers: their number, and sum and sum of squares of the logarithm of their speed."""

    def close(self) -> None:
        """Keep the shortest waits of each class of prompts, and forget the others."""
        self.quick = dict(_quick(self.queue_times))
        self.queue_times = {}


class ObservedMetrics:
    """Counts answers of every deployment, by the hour."""

    __slots__ = ("_hours", "_most")

    def __init__(self, most: int = DEPLOYMENTS) -> None:
        self._hours: dict[tuple[str, str], list[Hour]] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self._hours)

    def add(self, sample: Sample) -> None:
        """Count one answer. Of pinned deployments only the pace is comparable with anything."""
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

    def _hour(self, key: tuple[str, str], number: int) -> Hour:
        hours = self._hours.get(key)
        if hours is None:
            hours = self._hours[key] = []
        # Answers come in nearly in order: one that is a little late counts with the hour that runs.
        if not hours or hours[-1].number < number:
            hours.append(Hour(number))
            for old in hours[:-RECENT]:
                if old.queue_times:
                    old.close()
            del hours[:-HOURS]
        return hours[-1]

    def of(self, model_group: str, deployments: Iterable[str], now: float) -> dict[str, Observed]:
        """The numbers of some deployments of a model group, which are compared with each other."""
        number = int(now // HOUR_S)
        hours = {
            name: [hour for hour in self._hours.get((model_group, name), ()) if hour.number > number - HOURS]
            for name in deployments
        }
        burnt = {name: _added(hour.burnt for hour in some) for name, some in hours.items()}
        return {name: _observed(name, some, burnt, number) for name, some in hours.items()}

    def groups(self) -> dict[str, list[str]]:
        """The deployments that answered within the hours that are remembered, by model group."""
        found: dict[str, list[str]] = {}
        for group, deployment in self._hours:
            found.setdefault(group, []).append(deployment)
        return found

    def forget(self, now: float) -> None:
        """Forget deployments that gave no answer within the hours that are remembered."""
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
    name: str, hours: Sequence[Hour], burnt: Mapping[str, Mapping[int, tuple[int, int]]], number: int
) -> Observed:
    recent = [hour for hour in hours if hour.number > number - RECENT]
    others = [kinds for other, kinds in burnt.items() if other != name]
    burn, answers = _burn(burnt[name], others)
    queue = _queue(hours, recent)
    return Observed(burn, answers, *queue, *_spread(recent))


def _burn(
    own: Mapping[int, tuple[int, int]], others: Sequence[Mapping[int, tuple[int, int]]]
) -> tuple[float | None, int]:
    """Tokens against those that the median of the others would have taken for the same kinds of requests."""
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
    """What answers waited beyond the shortest waits of the quietest hour, for prompts of their class."""
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
    """The geometric middle of a bin."""
    low, high = edges(place)
    return math.sqrt(low * high)


def _exceeded_by(counted: Iterable[tuple[float, int]], share: float) -> float:
    """The least value that at most a share of the samples exceed; samples are in ascending order."""
    values = list(counted)
    left = sum(count for _, count in values)
    most = left * share
    for value, count in values:
        left -= count
        if left <= most:
            return value
    return math.nan


def _spread(recent: Sequence[Hour]) -> tuple[float | None, int]:
    """The standard deviation within each way of answering, both together."""
    squares, freedom, answers = 0.0, 0, 0
    for mode in (0, 1):
        count, total, squared = (sum(hour.speeds[mode][part] for hour in recent) for part in range(3))
        answers += int(count)
        if count >= 2:
            squares += max(0.0, squared - total * total / count)
            freedom += int(count) - 1
    return (math.sqrt(squares / freedom) if answers >= ANSWERS and freedom else None), answers
