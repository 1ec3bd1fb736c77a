"""Fast runs of presets over scenarios: the real rule on counts of intervals.

Tiers, probe plans and the rule's state come from ``core.tiers`` as in ``run``; requests are not drawn one by one, and
the windows are cumulated sums (``windows``). All scenarios of a run are judged as one block, because most of the
time is that of the rule: 108 model groups take five times as long as one. A test compares the figures with those of
``run``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.tiers.columns import TIERS, Block, ProbePlan, TierState
from exacto_plugin.core.windows.slots import NO_SLOT
from exacto_plugin.errors import SettingsError
from exacto_plugin.simulate.fast.probing import FastProbing
from exacto_plugin.simulate.fast.shares import block_shares, normalised
from exacto_plugin.simulate.fast.traffic import CellTable, FleetRates, draw_places, draw_requests, joined
from exacto_plugin.simulate.fast.windows import COARSE_S, IntervalWindows
from exacto_plugin.simulate.run import START
from exacto_plugin.simulate.trace import TIER_NOW, Change, Trace
from exacto_plugin.simulate.traffic import TrafficGenerator
from exacto_plugin.simulate.world import GroundTruth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from exacto_plugin.core.tiers.columns import Preset, TierAssignments
    from exacto_plugin.simulate.fast.traffic import Calls
    from exacto_plugin.simulate.presets import NamedPreset
    from exacto_plugin.simulate.run import RunConfig
    from exacto_plugin.simulate.scenario import Scenario

_HOUR_S = 3600.0


def run_fast(scenarios: Sequence[Scenario], preset: NamedPreset, course: RunConfig) -> list[Trace]:
    """Run scenarios under one preset; their steps are the intervals of ``course``.

    Equal arguments give equal traces. Scenarios that run together share their draws, so another selection of scenarios
    gives other draws.

    Raises:
        SettingsError: a scenario or the interval cannot be run fast.
    """
    for scenario in scenarios:
        refuse_slow(scenario)
    if course.interval_s % 1.0 or COARSE_S % course.interval_s:
        raise SettingsError(f"--interval: got {course.interval_s:g}, expected a divisor of {COARSE_S} with --fast")
    simulation = FastSimulation(scenarios, preset.rule, course)
    for step in range(max(one.steps for one in simulation.scenarios)):
        simulation.step(step)
    return [one.trace for one in simulation.scenarios]


def refuse_slow(scenario: Scenario) -> None:
    """Refuse what only the simulation of single requests represents.

    Raises:
        SettingsError: the scenario has such a part; the message names it.
    """
    speeds = [one.tokens_per_s for one in scenario.providers] + [one.tokens_per_s for one in scenario.events]
    parts = {
        "hostile.share": scenario.hostile.share > 0,
        "pinned.share": scenario.pinned.share > 0,
        "providers.capacity_rpm": any(one.capacity_rpm is not None for one in scenario.providers),
        "providers.refuses_above_rpm": any(one.refuses_above_rpm is not None for one in scenario.providers),
        "tokens_per_s": speeds.count(None) < len(speeds),
    }
    for name, present in parts.items():
        if present:
            raise SettingsError(f"--fast: {name} needs single requests; run this scenario without --fast")


class _Part:
    """One scenario of a fast run: its true state, its events and its trace."""

    def __init__(self, scenario: Scenario, course: RunConfig, first_group: int) -> None:
        self.scenario = scenario
        self.world = GroundTruth(scenario, course.seed, course.repetitions)
        self.groups = slice(first_group, first_group + course.repetitions)
        self.trace = Trace(self.world.names, int(np.ceil(scenario.hours)), course.repetitions)
        self.steps = round(scenario.hours * _HOUR_S / course.interval_s)
        self.first_applied = round(scenario.observe_h * _HOUR_S / course.interval_s)
        self._traffic = TrafficGenerator(scenario, self.world.names)
        self._waiting = scenario.timeline()

    def is_due(self, hour: float) -> bool:
        """Check if an event happens by this hour."""
        return bool(self._waiting) and self._waiting[0].at_h <= hour + 1e-9

    def happen(self, hour: float) -> None:
        """Apply the events that are due."""
        while self.is_due(hour):
            self.trace.happenings += self.world.apply_event(self._waiting.pop(0))
        self.trace.attend(self.world.present, hour)

    def expected_requests(self, hour: float, interval_s: float) -> float:
        """Return the mean number of requests of the interval that begins at an hour."""
        return self._traffic.rate_per_s(hour) * interval_s

    def learn(self, previous: NDArray[np.int8], tier: NDArray[np.int8], elapsed_s: float) -> None:
        """Note the changes of tier of a recompute, ``[repetition, provider]``."""
        hour = elapsed_s / _HOUR_S
        at = min(self.trace.hours - 1, int((elapsed_s - 1.0) // _HOUR_S))
        for number, place in np.argwhere(previous != tier).tolist():
            since = float(self.world.good_since_h[number, place])
            before, after = (TIERS[int(tiers[number, place])].value for tiers in (previous, tier))
            good_for = -1.0 if since == np.inf else hour - since
            self.trace.changes.append(Change(number, place, hour, before, after, good_for))
            self.trace.tiers[at:, number, place] = TIER_NOW.index(after)


class FastSimulation:
    """Several scenarios under one rule, interval by interval."""

    def __init__(self, scenarios: Sequence[Scenario], rule: Preset | None, course: RunConfig) -> None:
        self._course = course
        self.scenarios = [
            _Part(scenario, course, number * course.repetitions) for number, scenario in enumerate(scenarios)
        ]
        self._groups = len(scenarios) * course.repetitions
        self._width = max(part.world.present.shape[1] for part in self.scenarios)
        self._fleet = self._joined_fleet()
        self.judge = None if rule is None else _Judge(rule, self.scenarios, self._fleet, course)
        self._probing = FastProbing(self._groups)
        self._picks = np.zeros((self._groups, self._width), np.int64)
        self._probes = np.zeros(self._groups, np.int64)

    def step(self, number: int) -> None:
        """Run one interval: events, requests, answers and the recompute at its end."""
        course = self._course
        hour = number * course.interval_s / _HOUR_S
        living = [part for part in self.scenarios if number < part.steps]
        due = [part for part in living if number == 0 or part.is_due(hour)]
        if due or not hour % 1.0:
            self._note_picks(hour)
        for part in due:
            part.happen(hour)
        if due:
            self._fleet = self._joined_fleet()
        expected = np.zeros(self._groups)
        for part in living:
            expected[part.groups] = part.expected_requests(hour, course.interval_s)
        # An own source: presets get the same numbers of requests.
        requests = draw_requests(np.random.default_rng([course.seed, number, 0]), self._fleet, expected)
        chance = np.random.default_rng([course.seed, number, 1])
        picks, calls = self._serve(chance, number, requests * self._fleet.weight.any(axis=1))
        if self.judge is not None:
            self._recompute(self.judge, picks, calls, number + 1)
        if number + 1 in {part.steps for part in living}:
            self._note_picks(hour + course.interval_s / _HOUR_S)

    def _serve(
        self, chance: np.random.Generator, number: int, requests: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Calls]:
        """Draw the picks of an interval, probes included, and their calls."""
        fleet, judge = self._fleet, self.judge
        shares = normalised(fleet.weight)
        probed, of_probes = np.zeros(shares.shape, np.int64), None
        if judge is not None and judge.assignments is not None:
            applied = np.zeros((self._groups, 1), np.bool_)
            for part in self.scenarios:
                applied[part.groups] = number >= part.first_applied
            shares = np.where(applied, block_shares(fleet.weight, judge.assignments), shares)
            if (plan := judge.assignments.probe_plan) is not None:
                asked = np.where(applied[:, 0], requests, 0)
                probed, of_probes = self._probing.draw(chance, fleet, _serving(plan, fleet), asked)
        picks, calls = draw_places(chance, fleet, requests, shares, probed.sum(axis=1))
        self._picks += picks + probed
        self._probes += probed.sum(axis=1)
        return picks + probed, calls if of_probes is None else joined([calls, of_probes])

    def _recompute(self, judge: _Judge, picks: NDArray[np.int64], calls: Calls, steps: int) -> None:
        elapsed_s = steps * self._course.interval_s
        previous, tier = judge.recompute(self._fleet, picks, calls, START + elapsed_s)
        for part in self.scenarios:
            if steps <= part.steps:
                here = part.groups, slice(part.world.present.shape[1])
                part.learn(previous[here], tier[here], elapsed_s)

    def _note_picks(self, until_h: float) -> None:
        """Add the picks since the last note to the traces; they are of one hour."""
        hour = until_h - self._course.interval_s / _HOUR_S
        for part in self.scenarios:
            picks = self._picks[part.groups, : part.world.present.shape[1]]
            if picks.any():
                part.trace.add(picks.astype(float), self._probes[part.groups].astype(float), part.world, hour)
        self._picks[:], self._probes[:] = 0, 0

    def _joined_fleet(self) -> FleetRates:
        return FleetRates.of([(part.scenario, part.world) for part in self.scenarios])


def _serving(plan: ProbePlan, fleet: FleetRates) -> ProbePlan:
    """Return a plan without the providers that left since the recompute."""
    there = fleet.weight > 0
    return ProbePlan(
        plan.merges_tiers, plan.keep_probability, np.where(there, plan.share, 0.0), plan.budget, plan.faults
    )


class _Judge:
    """The rule of a preset with the windows and tiers of all groups, as one block."""

    def __init__(self, rule: Preset, parts: Sequence[_Part], fleet: FleetRates, course: RunConfig) -> None:
        shape = fleet.weight.shape
        widths = np.repeat([part.world.present.shape[1] for part in parts], course.repetitions)
        used = np.arange(shape[1]) < widths[:, np.newaxis]
        self._slots = np.where(used, NO_SLOT + np.cumsum(used).reshape(shape), NO_SLOT)
        self._rows = int(used.sum()) + NO_SLOT + 1
        self._cells = CellTable(int(fleet.callers.max()), fleet.mix.shape[1])
        self._windows = IntervalWindows(self._rows, int(course.interval_s), self._cells.numbers)
        self._rule = rule.judge()
        self._tiers = TierState()
        for state in (self._rule, self._tiers):
            state.resize(len(self._windows.seen))
        self._names = tuple(
            f"{part.scenario.model_group}/{number}" for part in parts for number in range(course.repetitions)
        )
        self._positions = tuple(
            {name: place for place, name in enumerate(part.world.names)}
            for part in parts
            for _ in range(course.repetitions)
        )
        self.assignments: TierAssignments | None = None
        """The result of the last recompute; None before the first."""

    def recompute(
        self, fleet: FleetRates, picks: NDArray[np.int64], calls: Calls, now: float
    ) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
        """Add the answers of an interval and judge; return previous and new tiers."""
        self._add(picks, calls)
        member = fleet.weight > 0
        slots = np.where(member, self._slots, NO_SLOT)
        unlimited = np.full(slots.shape, np.inf)
        block = Block(self._names, self._positions, slots, member, fleet.weight, unlimited, fleet.price)
        for number, window_block in enumerate(self._windows.blocks):
            self._rule.measure(number, window_block, now)
            self._rule.measure_block(number, window_block, now)
        found = self._rule.judge(block, {})
        previous, since = self._tiers.compare(block, found.tier, now)
        self._tiers.commit(block, found.tier, since)
        found.commit()
        self.assignments = found
        return previous, found.tier

    def _add(self, picks: NDArray[np.int64], calls: Calls) -> None:
        """Add the picks and calls of an interval to the windows."""
        of_slot = calls._replace(row=self._slots.ravel()[calls.row])
        marked = (~calls.lost, calls.bad, calls.lost)
        counts = [np.bincount(self._slots.ravel(), picks.ravel(), self._rows).astype(np.int64)]
        counts += [np.bincount(of_slot.row[mask], minlength=self._rows) for mask in marked]
        self._windows.add(np.stack(counts), self._cells.count(of_slot, self._rows))
