"""The latest bad answers of a deployment: few of them, newest first, and nothing that a client wrote."""

from __future__ import annotations

from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.litellm_hooks.runtime.failure_log import DEPLOYMENTS, KEPT, FailureLog

A = DeploymentKey("a")


def test_the_newest_come_first_and_old_ones_go() -> None:
    """A bounded number is kept of each deployment, and of each model group apart."""
    log = FailureLog()
    for number in range(KEPT + 10):
        log.note(float(number), "g", A, "invalid_json", f"d{number}", lambda: "")
    log.note(1.0, "other", A, "lost", "", lambda: "")
    found = log.of("g", "a")
    assert [one.request for one in found] == [f"d{number}" for number in range(KEPT + 9, 9, -1)]
    assert [one.kind for one in log.of("other", "a")] == ["lost"]
    assert log.of("g", "b") == []


def test_the_path_is_looked_for_once_a_second() -> None:
    """A provider that fails every call costs a second validation of few of them, also after the clock went back."""
    log, asked = FailureLog(), []

    def locate() -> str:
        asked.append(1)
        return "/guests#minimum"

    for at in (10.0, 10.5, 10.9, 11.0, 5.0):
        log.note(at, "g", A, "schema_mismatch", "", locate)
    assert [one.path for one in log.of("g", "a")] == ["/guests#minimum", "/guests#minimum", "", "", "/guests#minimum"]
    assert len(asked) == 3


def test_many_deployments_take_bounded_room() -> None:
    """Names that requests invent push out others, and memory stays small."""
    log = FailureLog()
    for number in range(DEPLOYMENTS + 5):
        log.note(1.0, "g", DeploymentKey(f"d{number}"), "lost", "", lambda: "")
    assert len(log._kept) == len(log._placed) == DEPLOYMENTS
