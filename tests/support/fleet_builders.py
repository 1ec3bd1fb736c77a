"""Fleets that were fed calls and failures by hand."""

from __future__ import annotations

from exacto_plugin.core.model import DeploymentKey, ReasonCode, Signal
from tests.support.adaptive_fleets import Fleet


def fed(*counts: tuple[int, int], **more: object) -> Fleet:
    """A fleet that was fed calls and failures once and judged."""
    fleet = Fleet([0.0] * len(counts), **more)  # type: ignore[arg-type]
    for name, (calls, failed) in zip(fleet.names, counts, strict=True):
        fleet.feed(name, calls, failed)
    fleet.judge()
    return fleet


def code(fleet: Fleet, name: str, signal: Signal = Signal.TOOL_CALL_SUCCESS) -> ReasonCode:
    """Why a deployment has its tier."""
    verdict = fleet.engine.snapshot.groups["g"].verdicts[DeploymentKey(name)]
    return next(reason.code for reason in verdict.reasons if reason.signal is signal)
