"""Runs of presets over scenarios: the real engine with simulated providers.

Several repetitions run side by side; each is a model group of one engine. A step draws requests, routes them by the
engine's decisions, and adds the resulting samples; the engine recomputes at its interval. No rule is defined here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Mode, Sample, Snapshot
from exacto_plugin.core.routing.ordering import RoutingRequest, probe_shares
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.windows.increments import CounterKind
from exacto_plugin.simulate.evidence import increments_of_answers, samples
from exacto_plugin.simulate.pick_shares import shares
from exacto_plugin.simulate.probing import Probing
from exacto_plugin.simulate.trace import TIER_NOW, Change, Trace
from exacto_plugin.simulate.traffic import TrafficGenerator
from exacto_plugin.simulate.world import PRICE_POWER, GroundTruth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.model import Transition
    from exacto_plugin.simulate.presets import NamedPreset
    from exacto_plugin.simulate.scenario import Scenario
    from exacto_plugin.simulate.traffic import Answers

NO_WRITER = Snapshot("", 0.0)

START = 1_767_225_600.0
"""Midnight of 2026-01-01 UTC, when every simulation begins."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The parameters of a run."""

    seed: int = 0
    repetitions: int = 4
    step_s: float = 60.0
    """Seconds of traffic drawn at once, a divisor of the interval.

    60 is as fine as the engine's own minutes."""
    interval_s: float = 300.0
    """Seconds between two recomputes."""


@dataclass(frozen=True, slots=True)
class SampleWriter:
    """Callbacks for every event of a run, to write a log."""

    roster: Callable[[str, Mapping[DeploymentKey, float | None], float], None]
    """Model group, prices by deployment, time."""
    sample: Callable[[Sample], None]


class SimulationRun:
    """One scenario under one preset.

    Several may share an engine, each with model groups of its own.
    """

    def __init__(
        self, scenario: Scenario, engine: Engine | None, course: RunConfig, listener: SampleWriter | None = None
    ) -> None:
        self._scenario = scenario
        self._course = course
        self._listener = listener
        self._world = GroundTruth(scenario, course.seed, course.repetitions)
        self._traffic = TrafficGenerator(scenario, self._world.names)
        self._engine = engine
        self._groups = [f"{scenario.model_group}/{number}" for number in range(course.repetitions)]
        self._probing = Probing(self._groups, self._world.names)
        self._number_of = {group: number for number, group in enumerate(self._groups)}
        self._place_of = {name: place for place, name in enumerate(self._world.names)}
        self._first_applied = round(scenario.observe_h * 3600.0 / course.step_s)
        self._unserved = np.zeros(course.repetitions)
        self._waiting = scenario.timeline()
        self._limited = bool(np.isfinite(self._world.capacity_rpm).any())
        self._picked: NDArray[np.float64] | None = None
        self.steps = round(scenario.hours * 3600.0 / course.step_s)
        """Number of steps."""
        self.trace = Trace(self._world.names, int(np.ceil(scenario.hours)), course.repetitions)

    def step(self, number: int) -> None:
        """Run one step: events, requests, answers and their evidence."""
        hour = number * self._course.step_s / 3600.0
        happened = number == 0
        while self._waiting and self._waiting[0].at_h <= hour + 1e-9:
            self.trace.happenings += self._world.apply_event(self._waiting.pop(0))
            happened = True
        if happened:
            self._observe(hour)
        if happened or self._picked is None or self._limited or number == self._first_applied:
            self._picked = self._shares(number)
        self._serve(number, hour, self._picked)

    def learn(self, snapshot: Snapshot, transitions: Iterable[Transition], elapsed_s: float) -> None:
        """Apply the result of a recompute at a time of the run."""
        self._picked = None
        self._probing.renew(snapshot)
        hour = elapsed_s / 3600.0
        at = min(self.trace.hours - 1, int((elapsed_s - 1.0) // 3600.0))
        for change in transitions:
            number = self._number_of.get(change.model_group)
            if number is None:
                continue
            place = self._place_of[change.deployment]
            since = float(self._world.good_since_h[number, place])
            good_for = -1.0 if since == np.inf else hour - since
            self.trace.changes.append(Change(number, place, hour, change.previous.value, change.tier.value, good_for))
            self.trace.tiers[at:, number, place] = TIER_NOW.index(change.tier.value)

    def _observe(self, hour: float) -> None:
        """Update the engine's list of serving deployments."""
        now = START + hour * 3600.0
        self.trace.attend(self._world.present, hour)
        for number, group in enumerate(self._groups):
            there = np.flatnonzero(self._world.present[number])
            prices = {self._world.names[place]: float(self._world.price[number, place]) for place in there}
            if self._engine is not None:
                weights = {name: price**PRICE_POWER for name, price in prices.items()}
                rpm = {self._world.names[place]: float(self._world.capacity_rpm[number, place]) for place in there}
                self._engine.observe_peers(group, prices, now, weights=weights, capacities=rpm, prices=prices)
            if self._listener is not None:
                self._listener.roster(group, prices, now)

    def _serve(self, step: int, hour: float, picked: NDArray[np.float64]) -> None:
        course = self._course
        chance = np.random.default_rng([course.seed, step])
        requests = self._traffic.requests(chance, course.repetitions, hour, course.step_s)
        if self._unserved.any():
            served = chance.random(len(requests.repetition)) >= self._unserved[requests.repetition]
            self.trace.miss(requests.where(~served | requests.pinned), hour)
            requests = requests.where(served | requests.pinned)
        answers = self._traffic.answers(chance, requests, self._world, picked, self._probing)
        # All samples of the step are counted in the minute at its middle.
        at = START + step * course.step_s + (course.step_s / 2.0 // 60.0) * 60.0
        answers = self._answered(answers, hour, at)
        self.trace.count(answers, self._world, hour)
        names, providers = self._world.names, len(self._world.names)
        if self._engine is not None:
            for number, place, counts, cells in increments_of_answers(answers, self._traffic.caller_numbers, providers):
                self._engine.add(self._groups[number], names[place], counts, cells, at)
        if self._listener is not None:
            for sample in samples(answers, names, self._traffic.callers, self._groups.__getitem__, at):
                self._listener.sample(sample)

    def _answered(self, answers: Answers, hour: float, at: float) -> Answers:
        """Return the answers that no provider refuses, and count the refused requests."""
        refused = answers.refused(self._world.refuses_above_rpm * self._course.step_s / 60.0)
        if not refused.any():
            return answers
        self.trace.miss(answers.requests.where(refused), hour)
        left_out = zip(answers.requests.repetition[refused].tolist(), answers.place[refused].tolist(), strict=True)
        for (number, place), count in Counter(left_out).items():
            group, name = self._groups[number], self._world.names[place]
            if self._engine is not None:
                counts = {CounterKind.FAILED: count, CounterKind.REFUSED: count}
                self._engine.add(group, name, counts, {}, at)
            if self._listener is not None:
                for _ in range(count):
                    self._listener.sample(Sample(group, name, at, ok=False, refused=True))
        return answers.where(~refused)

    def _shares(self, step: int) -> NDArray[np.float64]:
        """Return all pick probabilities under the snapshot in force.

        Shape ``[repetition, provider]``.
        """
        world = self._world
        picked = np.zeros(world.present.shape)
        weights = world.weight()
        for number in range(len(self._groups)):
            there = np.flatnonzero(world.present[number]).tolist()
            liking = {LiteLLMId(world.names[place]): float(weights[number, place]) for place in there}
            limits = {LiteLLMId(world.names[place]): float(world.capacity_rpm[number, place]) for place in there}
            ask = self._ask(number, list(liking), step)
            snapshot = NO_WRITER if self._engine is None else self._engine.snapshot
            self._probing.set_shares(number, probe_shares(ask, snapshot))
            found, self._unserved[number] = filled(ask, snapshot, liking, limits, self._requests_per_minute(step))
            picked[number, there] = list(found.values())
        return picked

    def _ask(self, number: int, ids: Sequence[LiteLLMId], step: int) -> RoutingRequest:
        mode = Mode.OFF if self._engine is None else Mode.APPLY if step >= self._first_applied else Mode.OBSERVE
        candidates = [Candidate(one, DeploymentKey(one)) for one in ids]
        return RoutingRequest(self._groups[number], candidates, Policy(), tools=True, mode=mode)

    def _requests_per_minute(self, step: int) -> float:
        return self._traffic.rate_per_s(step * self._course.step_s / 3600.0) * 60.0


def run_together(
    scenarios: Sequence[Scenario], preset: NamedPreset, course: RunConfig, listener: SampleWriter | None = None
) -> list[Trace]:
    """Run scenarios under one preset; they share an engine, which saves time.

    Raises:
        ValueError: two of them have the same model group, or the interval is no multiple of the step.
    """
    if len({scenario.model_group for scenario in scenarios}) < len(scenarios):
        raise ValueError("scenarios that run together need different model groups")
    per_interval = round(course.interval_s / course.step_s)
    if per_interval < 1 or abs(per_interval * course.step_s - course.interval_s) > 1e-6:
        raise ValueError(f"an interval of {course.interval_s} s is no multiple of steps of {course.step_s} s")
    engine = Engine(preset.rule) if preset.rule is not None else None
    runs = [SimulationRun(scenario, engine, course, listener) for scenario in scenarios]
    for step in range(max(run.steps for run in runs)):
        for run in runs:
            if step < run.steps:
                run.step(step)
        if engine is not None and (step + 1) % per_interval == 0:
            elapsed_s = (step + 1) * course.step_s
            engine.recompute(START + elapsed_s)
            for run in runs:
                if step < run.steps:
                    run.learn(engine.snapshot, engine.transitions, elapsed_s)
    return [run.trace for run in runs]


def filled(
    ask: RoutingRequest,
    snapshot: Snapshot,
    weights: Mapping[LiteLLMId, float],
    limits: Mapping[LiteLLMId, float],
    requests_per_minute: float,
) -> tuple[dict[LiteLLMId, float], float]:
    """Return the shares when deployments have rate limits.

    LiteLLM leaves out full deployments, and the rest is decided on anew.

    Args:
        ask: an attempt with all candidates.
        snapshot: the verdicts in force.
        weights: of LiteLLM's lottery.
        limits: requests a minute that each candidate takes, infinite without a limit.
        requests_per_minute: total number.

    Returns:
        The share of the requests that each candidate serves, and the share that remains unserved.
    """
    served = dict.fromkeys(limits, 0.0)
    room = {name: limit / requests_per_minute for name, limit in limits.items()}
    left = 1.0
    while left > 1e-9 and (ready := [c for c in ask.candidates if room[c.id] > 1e-12]):
        spread = shares(replace(ask, candidates=ready), snapshot, weights)
        part = min([left, *(room[name] / share for name, share in spread.items() if share > 0.0)])
        for name, share in spread.items():
            served[name] += part * share
            room[name] -= part * share
        left -= part
    return served, left if left > 1e-9 else 0.0
