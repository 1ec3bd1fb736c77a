"""One course for two engines: one judges what can have changed, the other one judges everything each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.engine.engine import Engine
from exacto_plugin.core.engine.kept import KeptResults
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.tiers.checkpoints import ChangeDetector
from exacto_plugin.core.tiers.replay import encode
from exacto_plugin.core.windows.increments import CounterKind
from tests.core.engine.courses import GROUPS, OTHERS, PRESETS
from tests.support.samples import START

if TYPE_CHECKING:
    from exacto_plugin.core.model import GroupSnapshot, Snapshot
    from tests.core.engine.courses import Course


def told(group: GroupSnapshot) -> tuple[object, ...]:
    """Everything that a snapshot tells of a group, digit by digit."""
    verdicts = sorted((name, repr(verdict)) for name, verdict in group.verdicts.items())
    references = sorted((signal, repr(reference)) for signal, reference in group.references.items())
    return group.at, group.merge_tiers, repr(group.common_cause), verdicts, references, repr(group.paces)


def measurements(engine: Engine) -> dict[str, bytes]:
    """The inputs of the rule of all slots, bit by bit."""
    state = engine._state  # what was not measured again is no part of a snapshot until the group is judged
    columns = state.rule.read(np.arange(len(state.tier_state.tier))).columns
    return {name: column.tobytes() for name, column in columns.items()}


def outcome(engine: Engine) -> dict[str, object]:
    """Everything that a recompute leaves behind: both snapshots, changes, records, state, and what was measured."""

    def whole(snapshot: Snapshot) -> dict[str, object]:
        return {name: told(group) for name, group in snapshot.groups.items()}

    changes = () if engine.change_detector is None else engine.change_detector.changes
    records = [(one.model_group, one.cause, one.deployments, encode(one.inputs())) for one in changes]
    return {
        "snapshot": whole(engine.snapshot),
        "measured": whole(engine.measured),
        "order": list(engine.measured.groups),
        "transitions": repr(engine.transitions),
        "records": records,
        "state": repr([engine.dump(group) for group in GROUPS]),
        "measurements": measurements(engine),
    }


def engine_of(preset: int, *, recorded: bool = False) -> Engine:
    """An engine whose first group has rows in two window blocks.

    One that is recorded judges every group once an hour, which can hide what is due.
    """
    engine = Engine(PRESETS[preset])
    engine.change_detector = ChangeDetector() if recorded else None
    engine.observe_peers("others", (), START)  # tells the time, from which slots are leased
    for number in range(OTHERS):
        engine.add("others", DeploymentKey(f"{number}"), {CounterKind.ANSWERED: 1}, {}, START)
    for group, names in GROUPS.items():
        engine.observe_peers(group, names, START)
    return engine


def assert_equals_judging_everything(preset: int, course: Course, *, recorded: bool = False) -> Engine:
    """Run a course twice, once with everything judged each time; return the engine that judges what changed."""
    kept, whole = engine_of(preset, recorded=recorded), engine_of(preset, recorded=recorded)
    now = START
    for steps, wait_s in course:
        now += wait_s
        for engine in (kept, whole):
            for step in steps:
                step(engine, now)
            engine.overrides.expire(now)
        whole._state.measure_again()
        whole._results = KeptResults()  # no marks are asked, so everything is judged
        kept.recompute(now)
        whole.recompute(now)
        assert outcome(kept) == outcome(whole)
    return kept


def idle(waits: int, wait_s: float = 300.0) -> Course:
    """Recomputes without anything new."""
    return [([], wait_s)] * waits
