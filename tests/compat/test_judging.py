"""How lines of the smoke check are judged: every way in which a row can fail is told from every other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.compat.cases import NO_ENDPOINTS, Answer
from tests.compat.judging import Outcome, Status, judge
from tests.compat.plan import Line, Request
from tests.compat.rows import ASKS, CONTROL_MOST, CONTROLS, ROWS, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.compat.rows import Channel

    Came = tuple[Answer, tuple[str, ...]]

OFF: Mapping[str, Any] = {"on": False, "reason": "no seam", "remedy": None}


def _line(name: str, channel: Channel = "proxy") -> Line:
    return Line(next(row for row in ROWS if row.name == name), channel)


def _said(request: Request, part: str, *asked: str, **headers: str) -> Came:
    """A valid answer of one part, and the parts that were asked."""
    answer = Answer(200, f'{{"city": "{request.group}-{part}", "days": 1}}', headers)
    return answer, tuple(f"{request.group}-{one}" for one in asked or (part,))


def _outcome(line: Line, right: Callable[[Request], Came], control: Callable[[Request], Came], **more: Any) -> Outcome:
    came = {one.marker: right(one) for one in line.asks} | {one.marker: control(one) for one in line.controls}
    seen = {marker: [(name, {"model": line.group}) for name in asked] for marker, (_, asked) in came.items()}
    return Outcome({marker: answer for marker, (answer, _) in came.items()}, seen, **more)


def _wrong(request: Request) -> Came:
    return _said(request, "wrong")


def _right(request: Request) -> Came:
    return _said(request, "right")


def test_right_answers_are_ok() -> None:
    """All from the right deployment, and the control from the wrong one."""
    result = judge(_line("floor"), _outcome(_line("floor"), _right, _wrong))
    assert (result.status, result.right, result.control) == (Status.OK, ASKS, 0)
    assert not result.fails
    assert result.note == ""


def test_a_control_that_is_right_fails_the_run() -> None:
    """Then the row is right with the feature and without it."""
    result = judge(_line("floor"), _outcome(_line("floor"), _right, _right))
    assert result.status is Status.OK
    assert result.lucky
    assert result.fails


def test_one_wrong_answer_is_enough() -> None:
    """19 of 20 are not right, and the note tells what the other one was."""
    line = _line("floor")
    result = judge(line, _outcome(line, lambda one: (_wrong if one is line.asks[3] else _right)(one), _wrong))
    assert (result.status, result.right) == (Status.WRONG, ASKS - 1)
    assert result.note == "1x valid answer of wrong, asked wrong"


def test_what_is_told_as_off_is_off() -> None:
    """By the name of the feature, and for synchronous calls by ``sync`` too; another feature explains nothing."""
    explained: tuple[tuple[str, Channel, Status], ...] = (
        ("sorts", "proxy", Status.OFF),
        ("sync", "sync", Status.OFF),
        ("sync", "async", Status.WRONG),
        ("rescue", "proxy", Status.WRONG),
    )
    for feature, channel, status in explained:
        line = _line("floor", channel)
        result = judge(line, _outcome(line, _wrong, _wrong, features={feature: OFF}))
        assert result.status is status, (feature, channel)
        assert ("no seam" in result.note) is (status is Status.OFF)
    line = _line("floor")
    on = {"sorts": {**OFF, "on": True}}
    assert judge(line, _outcome(line, _wrong, _wrong, features=on)).status is Status.WRONG


@pytest.mark.parametrize(
    ("row", "headers"),
    [
        ("floor", {"x-exacto-policy": "price"}),
        ("floor", {"x-exacto-deployment": "proxy-floor-right"}),
        ("floor", {"x-exacto-provider": "proxy-floor-right-inc"}),
    ],
)
def test_a_header_that_is_not_true_is_never_off(row: str, headers: dict[str, str]) -> None:
    """A feature may be missing; what did not happen must not be claimed."""
    line = _line(row)
    features = {"sorts": OFF}
    untold = judge(line, _outcome(line, _wrong, _wrong, features=features))
    told = judge(line, _outcome(line, lambda one: _said(one, "wrong", **headers), _wrong, features=features))
    assert (untold.status, told.status) == (Status.OFF, Status.WRONG)
    assert told.untrue == tuple(headers)


def test_a_promise_is_kept_by_refusing() -> None:
    """A curated list that cannot be enforced may refuse; an answer from outside of it is WRONG whatever is off."""
    line = _line("exacto", "sync")
    features = {"sync": OFF}
    refusal = (Answer(404, error=NO_ENDPOINTS), ())
    assert judge(line, _outcome(line, lambda _: refusal, _wrong, features=features)).status is Status.OFF
    assert judge(line, _outcome(line, _wrong, _wrong, features=features)).status is Status.WRONG


def test_rescue_needs_both_asks() -> None:
    """A good answer of the right deployment is luck unless the wrong one was asked before."""
    line = _line("rescue-chat")
    both = _outcome(line, lambda one: _said(one, "right", "wrong", "right"), _wrong)
    assert judge(line, both).status is Status.OK
    assert judge(line, _outcome(line, _right, _wrong)).right == 0
    claims = {"x-exacto-rescued": "proxy-rescue-chat-right"}
    lying = _outcome(line, lambda one: _said(one, "right", "wrong", "right", **claims), _wrong)
    assert judge(line, lying).untrue == ("x-exacto-rescued",)


def test_a_conversation_stays() -> None:
    """Only requests that went where the first one did are right."""
    line = _line("affinity")
    stays = _outcome(line, lambda one: _said(one, "right-3"), _wrong)
    moves = _outcome(line, lambda one: _said(one, "right-3" if one in line.asks[:8] else "right-1"), _wrong)
    assert [judge(line, one).right for one in (stays, moves)] == [ASKS, 8]


def test_evidence_is_what_the_plugin_counted() -> None:
    """Answers that were served and not counted are not right."""
    line = _line("evidence")
    for samples, status in ((ASKS, Status.OK), (ASKS - 2, Status.WRONG), (0, Status.WRONG)):
        counted = [{"deployment": "any", "signals": {"tool_call_success": {"samples": samples}}}]
        groups = [{"model_group": line.group, "deployments": counted}, {"model_group": "other", "deployments": counted}]
        result = judge(line, _outcome(line, lambda one: _said(one, "right-0"), _wrong, verdicts=groups))
        assert (result.status, result.right) == (status, samples)


def test_our_fields_reach_nobody() -> None:
    """An answer is wrong when a provider got the ``provider`` object or a suffix."""
    line = _line("sort-price")
    for sent in ({"model": f"{line.group}:floor"}, {"model": line.group, "provider": {"sort": "price"}}):
        outcome = _outcome(line, _right, _wrong)
        leaked = Outcome(outcome.answers, {marker: [(name, sent) for name, _ in seen]
                                           for marker, seen in outcome.seen.items()})  # fmt: skip
        assert judge(line, leaked).right == 0


def test_a_process_that_failed_is_told() -> None:
    """All of its lines are WRONG, with the reason."""
    result = judge(_line("plain"), Outcome(failed="the proxy died"))
    assert (result.status, result.note) == (Status.WRONG, "the proxy died")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_can_fail(row: Row) -> None:
    """A row without answers is never right; where there is a control it asks something else than the row."""
    for channel in row.on:
        line = Line(row, channel)
        result = judge(line, Outcome())
        assert (result.status, result.right) == (Status.WRONG, 0)
        assert len(line.asks) == ASKS
        assert len(line.controls) in (0, CONTROLS)
        if line.controls:
            ask, control = line.asks[0], line.controls[0]
            assert (ask.model, ask.body) != (control.model, control.body) or ask.group != control.group
    assert CONTROL_MOST < CONTROLS
