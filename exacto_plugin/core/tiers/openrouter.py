"""The ``openrouter`` preset: OpenRouter's published rule for Auto Exacto.

A deployment is deranked when one signal lies too many robust standard deviations below the median of its peers, is
verified good when it has enough data and no signal is abnormal, and has insufficient data otherwise. The rule has no
state beyond the windows. Choices that the source leaves open are documented at the field or function that makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from exacto_plugin.core.model import Signal
from exacto_plugin.core.stats.peers import Peers, lower_threshold, peers
from exacto_plugin.core.tiers.adaptive.parameters import LARGEST
from exacto_plugin.core.tiers.benchmark import benchmark_columns
from exacto_plugin.core.tiers.columns import (
    DERANKED,
    INSUFFICIENT_DATA,
    VERIFIED_GOOD,
    Reading,
    TierAssignments,
    write_columns,
)
from exacto_plugin.core.tiers.signals import BELOW, FEW_SAMPLES, SignalColumns, reason_codes
from exacto_plugin.core.windows.increments import FAULTS, CounterKind, HistogramKind
from exacto_plugin.core.windows.speed import empty_medians, grow, merge_modes, speed_medians
from exacto_plugin.core.windows.windows import ALL_ROWS, MINUTE_S, ROWS, select_rows
from exacto_plugin.core.wire import to_wire

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import BenchmarkScores
    from exacto_plugin.core.tiers.columns import Block, TierRule
    from exacto_plugin.core.windows.windows import Rows, WindowBlock


@dataclass(frozen=True, slots=True)
class OpenRouterParameters:
    """Parameters of the published rule.

    Source, where none is named: OpenRouter's documentation of Auto Exacto.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    min_peers: int = 4
    """Deployments of a model group that need data on a signal, else the signal
    cannot derank."""
    throughput_deviations: float = 1.5
    """Standard deviations below the median that make a throughput abnormal.
    A standard deviation is 1.4826 times the MAD; the source names only "median and median absolute deviation", this
    is the usual scaling."""
    throughput_requests: int = 100
    """Answers with a measured throughput that a deployment needs within the window."""
    throughput_window_s: float = 1800.0
    """30 minutes."""
    min_output_tokens: int = 100
    """Answers with fewer tokens have no throughput.
    Not in the published rule: the end-to-end rate of a short answer measures the first token. Measured for a true 60
    tokens/s: 39.7 with no minimum, 47.8 from 100 on. 0: no minimum."""
    verify_peers: int = 4
    """Deployments that need data on a signal, else the signal cannot verify; more
    than ``min_peers`` are not needed.
    The announcement says "on by default for any model with enough providers to measure variance"; with fewer, a model
    group has no tiers. With 1 a deployment is verified while the others lack data: through a real proxy with seven
    deployments, two of them at 35 %, the first with enough calls took all traffic, 34.2 % bad calls after 18.6 %."""
    tool_call_deviations: float = 2.0
    """Standard deviations below the median that make a success rate abnormal."""
    tool_call_requests: int = 200
    """Answers to requests with tools that ended with tool calls, needed within the
    window."""
    tool_call_window_s: float = 7200.0
    """2 hours."""
    zero_mad_rate_margin: float = 0.02
    """Distance below the median, in success rate, that is abnormal when MAD = 0.
    The source does not specify it; taken literally, one failure among peers without any would derank. Measured among
    4 to 20 equal deployments that fail 0.2 % of 300 calls, whose MAD is 0 at every other recompute: 16 % to 36 % of
    them are flagged then without a margin, none with 2 points. (Where the MAD is not 0 this rule flags 4 % to 8 % of
    equal deployments at a recompute.)"""
    zero_mad_throughput_margin: float = 0.2
    """The same margin for throughput, as a share of the median.
    The source does not specify it; it is two bins of the speed histogram, the resolution of the measurement."""

    def __post_init__(self) -> None:
        """Check the range of every number.

        Raises:
            ValueError: a number is out of its range; the message names it.
        """
        ranges = {
            1: ("min_peers", "verify_peers", "throughput_requests", "tool_call_requests"),
            MINUTE_S: ("throughput_window_s", "tool_call_window_s"),
            0: (
                "throughput_deviations",
                "min_output_tokens",
                "tool_call_deviations",
                "zero_mad_rate_margin",
                "zero_mad_throughput_margin",
            ),
        }
        for least, names in ranges.items():
            for name in names:
                if not least <= (number := getattr(self, name)) <= LARGEST:
                    raise ValueError(f"{name}: expected a number from {least} to {LARGEST:g}, got {number}")

    def judge(self) -> OpenRouterTierRule:
        """Return a new instance of the rule."""
        return OpenRouterTierRule(self)

    @property
    def learns_capacity(self) -> bool:
        """False: the published rule does not consider capacity."""
        return False


@dataclass(frozen=True, slots=True)
class OpenRouterPreset:
    """Preset of the published rule, with the failures that it counts."""

    rule: OpenRouterParameters = OpenRouterParameters()
    counts_lost: bool = False
    """True if a lost call counts as a bad one.
    Not in the published definition, which covers only calls that arrived."""

    def judge(self) -> OpenRouterTierRule:
        """Return a new instance of the rule."""
        return OpenRouterTierRule(self.rule, counts_lost=self.counts_lost)

    @property
    def learns_capacity(self) -> bool:
        """As the rule's."""
        return self.rule.learns_capacity


class OpenRouterTierRule:
    """Published rule with the latest measurements.

    It keeps no other state, so equal windows give equal tiers.
    """

    interval_s = 0.0
    """No verdict depends on the interval of recomputes."""

    def __init__(self, rule: OpenRouterParameters, *, counts_lost: bool = False) -> None:
        self.min_output_tokens = rule.min_output_tokens
        self.reads_checked_callers = False
        self._rule = rule
        self._lost_calls = (CounterKind.LOST,) if counts_lost else ()
        self._calls: NDArray[np.int64] = np.zeros(0, np.int64)
        self._bad_calls: NDArray[np.int64] = np.zeros(0, np.int64)
        self._speed = empty_medians()

    def resize(self, slots: int) -> None:
        """Resize the arrays to slots below ``slots``."""
        if (more := slots - len(self._calls)) > 0:
            self._calls = np.pad(self._calls, (0, more))
            self._bad_calls = np.pad(self._bad_calls, (0, more))
            self._speed = grow(self._speed, slots)

    def measure(self, number: int, window_block: WindowBlock, now: float, rows: Rows = ALL_ROWS) -> None:
        """Read tool calls and speeds of some rows over the rule's windows."""
        slots = number * ROWS + np.arange(ROWS)[rows]
        columns = (CounterKind.CALLED, *FAULTS, *self._lost_calls)
        calls = select_rows(window_block.sums(columns, now, self._rule.tool_call_window_s), rows)
        lost = calls[1 + len(FAULTS) :].sum(axis=0)
        self._calls[slots] = calls[0] + lost
        self._bad_calls[slots] = calls[1:].sum(axis=0)
        modes = HistogramKind.SPEED_STREAMED, HistogramKind.SPEED_WHOLE
        speed = speed_medians(window_block, *modes, now, self._rule.throughput_window_s, rows)
        self._speed.samples[:, slots] = speed.samples
        self._speed.medians[:, slots] = speed.medians

    def measure_block(self, number: int, window_block: WindowBlock, now: float) -> NDArray[np.bool_]:
        """Return no rows: only the windows' contents count."""
        return np.zeros(ROWS, np.bool_)

    def due_slots(self, widths: Sequence[tuple[int, int]], before: float, now: float) -> NDArray[np.intp]:
        """Return no slots: only the windows' contents count."""
        return np.zeros(0, np.intp)

    def note_limits(self, limits: Mapping[int, float]) -> list[int]:
        """Do nothing: the published rule knows no limits."""
        return []

    def read(self, slots: NDArray[np.intp]) -> Reading:
        """Return the inputs of ``judge`` for some slots."""
        return Reading({name: column[..., slots] for name, column in self._columns().items()}, ())

    def restore(self, reading: Reading, slots: NDArray[np.intp]) -> None:
        """Replace the measurements by those that ``read`` returned."""
        write_columns(self._columns(), reading.columns, slots)

    def _columns(self) -> dict[str, NDArray[np.generic]]:
        speed = {f"speed.{part}": column for part, column in to_wire(self._speed).items()}
        return {"called": self._calls, "faulty": self._bad_calls, **speed}

    def forget(self, slots: Collection[int]) -> None:
        """Erase the measurements of some slots."""
        for column in (self._calls, self._bad_calls, *self._speed):
            column[..., list(slots)] = 0

    def restart(self, slot: int, now: float) -> None:
        """Do nothing: this rule has no evidence start, the windows expire."""

    def inherit(self, other: TierRule, tier: NDArray[np.int8]) -> None:
        """Do nothing: tiers follow from the windows alone."""

    def dump(self, slot: int) -> dict[str, float | int | str | None]:
        """Do nothing: this rule has no state beside the windows."""
        return {}

    def load(self, slot: int, plain: Mapping[str, object]) -> None:
        """Do nothing: this rule has no state beside the windows."""

    def judge(self, block: Block, scores: Mapping[str, BenchmarkScores]) -> TierAssignments:
        """Derank on any abnormal signal; verify with enough data on every signal.

        A signal on which too few deployments of the group have enough data (for example, when no answer is long enough
        for a throughput) is not required; at least one of throughput and tool calls is. Benchmarks can derank but are
        not required: the source does not specify if an unmeasured deployment can be verified.
        """
        signals = [self._throughput(block), self._tool_calls(block)]
        needed = min(self._rule.verify_peers, self._rule.min_peers)
        measurable = np.stack([columns.peers >= needed for columns in signals])[..., np.newaxis]
        enough = np.stack([columns.code != FEW_SAMPLES for columns in signals])
        verified = (enough | ~measurable).all(axis=0) & measurable.any(axis=0)
        if any(group in scores for group in block.groups):
            signals.append(benchmark_columns(block, scores, self._rule.min_peers))
        abnormal = np.stack([columns.code == BELOW for columns in signals]).any(axis=0)
        tier = np.where(abnormal, DERANKED, np.where(verified, VERIFIED_GOOD, INSUFFICIENT_DATA))
        groups = len(block.groups)
        always, never = np.full(groups, np.inf), np.zeros(groups, np.bool_)
        return TierAssignments(tier.astype(np.int8), signals, holds_until=always, by_interval=never)

    def _throughput(self, block: Block) -> SignalColumns:
        """Evaluate the median end-to-end rate in output tokens per second.

        The source defines "output tokens / generation time" with fetch latency and first-token time included. It
        specifies neither the aggregation over requests nor a separation of streamed answers.
        """
        rule = self._rule
        speed = merge_modes(self._speed.at(block.slots), 1.0)
        samples = speed.samples.astype(np.int64)
        of = peers(speed.medians, block.member & (samples >= rule.throughput_requests))
        margin = rule.zero_mad_throughput_margin * of.median
        threshold = lower_threshold(of, rule.throughput_deviations, margin, rule.min_peers)
        needed, window_s = rule.throughput_requests, rule.throughput_window_s
        return self._compare(Signal.THROUGHPUT, block, (speed.medians, samples), of, threshold, (needed, window_s))

    def _tool_calls(self, block: Block) -> SignalColumns:
        """Evaluate the share of answers with evaluated tool calls and no bad call."""
        rule = self._rule
        samples = self._calls[block.slots]
        with np.errstate(invalid="ignore"):
            rates = (samples - self._bad_calls[block.slots]) / samples
        of = peers(rates, block.member & (samples >= rule.tool_call_requests))
        threshold = lower_threshold(of, rule.tool_call_deviations, rule.zero_mad_rate_margin, rule.min_peers)
        needed, window_s = rule.tool_call_requests, rule.tool_call_window_s
        return self._compare(Signal.TOOL_CALL_SUCCESS, block, (rates, samples), of, threshold, (needed, window_s))

    def _compare(
        self,
        signal: Signal,
        block: Block,
        measured: tuple[NDArray[np.float64], NDArray[np.int64]],
        of: Peers,
        threshold: NDArray[np.float64],
        asked: tuple[NDArray[np.int64] | int, NDArray[np.float64] | float],
    ) -> SignalColumns:
        """Compare each deployment's value with its group's threshold.

        One-sided: only values below it are abnormal.
        """
        values, samples = measured
        groups = len(block.groups)
        needed, window_s = np.broadcast_to(asked[0], groups), np.broadcast_to(asked[1], groups)
        limits = np.broadcast_to(threshold[:, np.newaxis], values.shape)
        enough = samples >= needed[:, np.newaxis]
        code = reason_codes(block.member, values < limits, enough, np.isnan(limits))
        return SignalColumns(
            signal, values, samples, code, of.median, of.mad, limits, of.members, needed, window_s, self._rule.min_peers
        )
