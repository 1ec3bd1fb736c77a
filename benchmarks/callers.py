"""What single callers can do to verdicts, and what the limits on them cost: requests and minutes until a derank.

Four deployments under the preset ``adaptive``, judged every five minutes after six hours of healthy traffic. Attackers
aim all of their calls at the first deployment. Every number is the median of the seeds; ``-`` is never. Run as
``python -m benchmarks.callers``; ``--quick`` for two seeds.
"""

from __future__ import annotations

import argparse
import heapq
import statistics
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import DeploymentKey, Outcome, Sample, Tier
from exacto_plugin.core.tiers.adaptive.judge import AdaptivePreset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAMES = tuple(map(DeploymentKey, ("a", "b", "c", "d")))
TARGET = NAMES[0]
START = 1_800_000_000.0
WARM_S = 6 * 3600.0
INTERVAL_S = 300.0
HEALTHY = 0.003
BROKEN = 0.25
MOST_SENT = 12_000
MOST_BAD = 1_000
"""Bad calls of the attackers after which a run of the table of identities ends."""
MOST_HOURS = 24.0


@dataclass(frozen=True)
class Stream:
    """The requests of one caller, or of several alike."""

    callers: Sequence[str]
    per_minute: float
    """Of all of them together."""
    rate: float = HEALTHY
    """Share of bad calls at the target."""
    aimed: bool = False
    """All of them go to the target."""
    seconds: tuple[float, float] = (4.0, 4.0)
    """Seconds of an answer of 200 tokens at the target, and elsewhere."""
    begins: float = 0.0
    """Seconds since the start."""


class Found(NamedTuple):
    """When the target was deranked."""

    sent: int
    """Requests of the last stream until then."""
    minutes: float


def _requests(
    number: int, stream: Stream, draw: np.random.Generator
) -> Iterator[tuple[float, int, str, DeploymentKey]]:
    """Times, stream, callers and deployments."""
    at = stream.begins
    while True:
        at += float(draw.exponential(60.0 / stream.per_minute))
        name = TARGET if stream.aimed else NAMES[int(draw.integers(len(NAMES)))]
        yield at, number, stream.callers[int(draw.integers(len(stream.callers)))], name


def run(
    streams: Sequence[Stream], seed: int, broken_from: float | None = None, most_sent: int = MOST_SENT
) -> Found | None:
    """Serve the streams until the target is deranked; None when that never happens.

    Args:
        streams: of requests.
        seed: of the draws.
        broken_from: seconds from which the streams' own rates hold at the target; None: all the time.
        most_sent: requests of the last stream after which the run ends.
    """
    draw = np.random.default_rng(seed)
    engine = Engine(AdaptivePreset())
    engine.observe_peers("g", NAMES, START)
    sent, judged = 0, 0.0
    for at, number, caller, name in heapq.merge(*(_requests(*each, draw) for each in enumerate(streams))):
        while at >= judged + INTERVAL_S:
            judged += INTERVAL_S
            engine.recompute(START + judged)
            verdicts = engine.snapshot.groups["g"].verdicts
            if verdicts[TARGET].tier is Tier.DERANKED and judged > WARM_S:
                return Found(sent, (judged - WARM_S) / 60.0)
        if at > WARM_S + MOST_HOURS * 3600.0 or sent > most_sent:
            return None
        stream = streams[number]
        sent += number == len(streams) - 1 and at > WARM_S
        holds = name == TARGET and at >= (broken_from or 0.0)
        bad = draw.random() < (stream.rate if holds else HEALTHY)
        engine.record(
            Sample(
                "g",
                name,
                START + at,
                tools_offered=True,
                outcome=Outcome.SCHEMA_MISMATCH if bad else Outcome.VALID,
                output_tokens=200,
                duration_s=stream.seconds[not holds] * float(draw.lognormal(0.0, 0.3)),
                caller=caller,
            )
        )
    return None


def _names(kind: str, number: int, seed: int) -> list[str]:
    """Names that fall on other numbers with every seed."""
    return [f"{seed}-{kind}-{place}" for place in range(number)]


def _median(case: Callable[[int], Found | None], seeds: int) -> str:
    """Requests and minutes of the median run, and how many runs came to a derank."""
    found = [case(seed) for seed in range(seeds)]
    minutes = statistics.median_low([one.minutes if one else float("inf") for one in found])
    sent = statistics.median_low([one.sent if one else MOST_SENT * 2 for one in found])
    hits = sum(one is not None for one in found)
    shown = f"{sent} requests, {minutes:.0f} min" if minutes < float("inf") else "-"
    return f"{shown:24s} ({hits} of {seeds})"


def _framed(others: float, keys: int, identities: int, each: float, most_sent: int, seed: int) -> Found | None:
    honest = Stream(_names("honest", keys, seed), others)
    evil = Stream(_names("evil", identities, seed), each * identities, 1.0, True, begins=WARM_S)
    return run([honest, evil], seed, most_sent=most_sent)


def _diluted(identities: int, aimed: bool, seed: int) -> Found | None:
    honest = Stream(_names("honest", 10, seed), 10.0, BROKEN)
    others = [Stream(_names("evil", identities, seed), 10.0 * identities, 0.0, aimed)] if identities else []
    return run([*others, honest], seed, WARM_S)


def _broken(callers: int, per_minute: float, seed: int) -> Found | None:
    return run([Stream(_names("honest", callers, seed), per_minute, BROKEN)], seed, WARM_S)


def _slow(others: float, identities: int, each: float, seed: int) -> Found | None:
    honest = Stream(_names("honest", 10, seed), others)
    slow = Stream(
        _names("evil", identities, seed), each * identities, HEALTHY, aimed=True, seconds=(60.0, 4.0), begins=WARM_S
    )
    return run([honest, slow], seed)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("parts", nargs="*", help="framing, identities, dilution, break, speed; default: all")
    options = parser.parse_args()
    seeds = 2 if options.quick else 5

    def table(name: str, title: str, rows: Sequence[tuple[str, Callable[[int], Found | None]]]) -> None:
        if options.parts and name not in options.parts:
            return
        sys.stdout.write(f"\n{title}\n")
        for label, case in rows:
            sys.stdout.write(f"  {label:58s} {_median(case, seeds)}\n")
            sys.stdout.flush()

    framing = [
        (1, 10, 1, 1.0),
        (10, 10, 1, 10.0),
        (60, 10, 1, 60.0),
        (10, 3, 1, 10.0),
        (1, 10, 2, 0.05),
        (10, 10, 2, 0.5),
        (60, 10, 2, 3.0),
        (10, 3, 2, 0.5),
        (1, 10, 2, 0.2),
        (1, 10, 2, 1.0),
        (10, 10, 2, 2.0),
        (10, 10, 2, 10.0),
        (60, 10, 2, 10.0),
        (60, 10, 2, 60.0),
        (1, 10, 5, 0.2),
        (10, 10, 5, 0.5),
        (10, 10, 5, 2.0),
        (60, 10, 5, 10.0),
    ]
    table(
        "framing",
        "Requests, all bad, that derank a good deployment",
        [
            (
                f"{keys} others, {others}/min together; {number} x {each}/min",
                partial(_framed, others, keys, number, each, MOST_SENT),
            )
            for others, keys, number, each in framing
        ],
    )
    table(
        "identities",
        f"The same within {MOST_BAD:,} bad calls, beside others with 10/min together over four deployments",
        [
            (
                f"{keys} others; {number} with {share:.0%} of the traffic",
                partial(_framed, 10.0, keys, number, 10.0 * share / (1 - share) / number, MOST_BAD),
            )
            for share in (0.1, 0.5)
            for number in (1, 2, 3, 5)
            for keys in (1, 2, 3, 10)
        ],
    )
    table(
        "dilution",
        "25 % bad for 10 callers with 10/min together, and faultless calls of others",
        [
            (f"{number} diluting x 10/min{', all at the target' if aimed else ''}", partial(_diluted, number, aimed))
            for number, aimed in ((0, False), (1, False), (2, False), (5, False), (1, True), (2, True), (5, True))
        ],
    )
    table(
        "break",
        "A break to 25 % with few callers in all",
        [
            (f"{callers} callers, {rate}/min together", partial(_broken, callers, float(rate)))
            for rate in (10, 100)
            for callers in (1, 2, 3, 5, 10, 40)
        ],
    )
    table(
        "speed",
        "Slow answers that derank a fast deployment",
        [
            (f"10 others, {others}/min together; {number} x {each}/min", partial(_slow, others, number, each))
            for others, number, each in (
                (1, 1, 2.0),
                (10, 1, 4.0),
                (60, 1, 20.0),
                (10, 2, 2.0),
                (10, 2, 10.0),
                (10, 5, 4.0),
            )
        ],
    )


if __name__ == "__main__":
    main()
