"""Default routing compared with tiers, on the tasks that both answered.

Default routing is the unpinned baseline of a model group. Tiers are the mean of its verified deployments, as they share
the traffic.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exacto_plugin.benchmark_scores.standings import WINDOW_S, tasks_of
from exacto_plugin.benchmark_scores.statistics import difference, pooled, student
from exacto_plugin.benchmark_scores.tasks import is_baseline, least_tasks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from exacto_plugin.records import BenchmarkRecord

_BOTH_SIDES = 0.975


@dataclass(frozen=True, slots=True)
class RoutingGain:
    """Gain of tiers over default routing in one benchmark and configuration."""

    benchmark: str
    configuration: str
    verified: Sequence[str]
    """Verified deployments with runs that count."""
    unmeasured: Sequence[str]
    """Verified deployments without any."""
    tasks: int
    """Tasks that the baseline and all of ``verified`` answered."""
    default: float
    """Score of default routing on these, 0..1, as ``tiers``."""
    tiers: float
    gain: float
    low: float
    """95 % interval of ``gain``, by the tasks."""
    high: float

    @property
    def is_certain(self) -> bool:
        """True if the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def routing_gains(records: Sequence[BenchmarkRecord], verified: Collection[str], now: float) -> list[RoutingGain]:
    """Return the gain in each benchmark and configuration that has both sides.

    Args:
        records: of a model group, in order of time; refused ones and those older than 32 days are left out.
        verified: the deployments of the group that are verified good.
        now: UTC seconds.
    """
    series: dict[tuple[str, str], dict[str, list[BenchmarkRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if not record.refused and record.paired and now - WINDOW_S <= record.at <= now:
            series[record.benchmark, record.configuration][record.deployment].append(record)
    found = []
    for (benchmark, configuration), runs in sorted(series.items()):
        tasks = {name: pooled([tasks_of(run) for run in kept]) for name, kept in runs.items()}
        default = next((one for name, one in sorted(tasks.items()) if is_baseline(name)), None)
        measured = [name for name in sorted(verified) if len(tasks.get(name, ())) >= least_tasks(benchmark)]
        if default is None or not measured:
            continue
        apart = difference(default, [tasks[name] for name in measured], paired=True)
        if not math.isfinite(apart.error) or apart.tasks < least_tasks(benchmark):
            continue
        common = set(default).intersection(*(tasks[name] for name in measured))
        score = sum(default[task].mean for task in common) / len(common)
        margin = student(_BOTH_SIDES, apart.tasks - 1) * apart.error
        unmeasured = [name for name in sorted(verified) if name not in measured]
        gain = -apart.mean
        found.append(
            RoutingGain(
                benchmark, configuration, measured, unmeasured, apart.tasks, score, score + gain,
                gain, gain - margin, gain + margin,
            )
        )  # fmt: skip
    return found
