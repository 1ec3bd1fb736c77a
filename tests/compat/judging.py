"""Lines and what came of their requests made into results: ok, off, or WRONG. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tests.compat.cases import Answer, Case
from tests.compat.rows import ASKS, CONTROL_MOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.compat.plan import Line, Request

_REASONS = 3
"""Of what came out wrong, the most frequent kinds are shown."""


class Status(StrEnum):
    """What a line comes to."""

    OK = "ok"
    OFF = "off"
    """Wrong, and the plugin says itself that the feature is off."""
    WRONG = "WRONG"


@dataclass(frozen=True)
class Outcome:
    """What is known after all lines of a process were asked.

    Args:
        answers: by a request's marker.
        seen: by a request's marker, the deployments that were asked and the bodies that they got.
        verdicts: ``model_groups`` of ``/exacto/api/models``.
        features: as ``/exacto/api/status`` tells them; empty where it tells none.
        failed: why nothing could be asked at all.
    """

    answers: Mapping[str, Answer] = field(default_factory=dict)
    seen: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]] = field(default_factory=dict)
    verdicts: Sequence[Mapping[str, Any]] = ()
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

    name: str
    status: Status
    right: int
    asked: int
    control: int | None
    """Right answers of the control, of ``controls``; None without one."""
    controls: int
    note: str
    untrue: tuple[str, ...] = ()
    """Headers that said what did not happen."""

    @property
    def lucky(self) -> bool:
        """Whether the control came out right as well: then a right row shows nothing."""
        return self.control is not None and self.control > CONTROL_MOST

    @property
    def fails(self) -> bool:
        """Whether the run fails because of it."""
        return self.status is Status.WRONG or self.lucky


def judge(line: Line, outcome: Outcome) -> Result:
    """One line's result."""
    if outcome.failed:
        return Result(line.name, Status.WRONG, 0, ASKS, None, 0, outcome.failed)
    cases = [_case(line, one, outcome) for one in line.asks]
    controls = [_case(line, one, outcome) for one in line.controls]
    verdicts = _right(line, cases)
    counted = _counted(line, outcome)
    right = min(sum(verdicts), counted)
    untrue = Counter(header for case in cases for header in case.untrue())
    well = right >= line.row.needed and not untrue
    broken = line.row.promise and any(case.asked and not fine for case, fine in zip(cases, verdicts, strict=True))
    off = [] if well or untrue or broken else _off(line, outcome)
    status = Status.OK if well else Status.OFF if off else Status.WRONG
    control = sum(_right(line, controls)) if controls else None
    kinds = Counter(str(case) for case, fine in zip(cases, verdicts, strict=True) if not fine)
    notes = [
        *off,
        *([f"counted {counted}"] if counted < sum(verdicts) else []),
        *(f"{count}x {kind}" for kind, count in kinds.most_common(_REASONS)),
        *(f"{header} not true {count}x" for header, count in untrue.items()),
    ]
    return Result(line.name, status, right, len(cases), control, len(controls), "; ".join(notes), (*untrue,))


def _counted(line: Line, outcome: Outcome) -> int:
    """How many of the line's requests the plugin counted, where that matters; else all of them."""
    if line.row.tally is None:
        return ASKS
    own = [group for group in outcome.verdicts if group["model_group"] == line.group]
    return line.row.tally([one for group in own for one in group["deployments"]])


def _right(line: Line, cases: Sequence[Case]) -> list[bool]:
    """For each request whether it is right."""
    first = cases[0].answered_by if cases else ""
    stays = [not line.row.conversation or case.answered_by == first for case in cases]
    return [line.row.right(case) and case.clean and there for case, there in zip(cases, stays, strict=True)]


def _case(line: Line, request: Request, outcome: Outcome) -> Case:
    parts = line.parts(request.group)
    seen = outcome.seen.get(request.marker, ())
    asked = tuple(sorted(parts.get(name, name) for name, _ in seen))
    answer = outcome.answers.get(request.marker, Answer(error="no answer"))
    return Case(answer, parts, asked, tuple(body for _, body in seen))


def _off(line: Line, outcome: Outcome) -> list[str]:
    """The features that the plugin says are off, with its reasons."""
    wanted = (*line.row.features, *(("sync",) if line.channel == "sync" else ()))
    told = {name: outcome.features[name] for name in wanted if name in outcome.features}
    return [f"{name} is off: {one.get('reason')}" for name, one in told.items() if one.get("on") is False]
