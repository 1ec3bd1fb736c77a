"""Scores of a deployment as plain data, for ``why`` and the page."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from exacto_plugin.benchmark_scores.standings import WINDOW_S, scores_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.records import BenchmarkRecord

_SHOWN = ("benchmark", "score", "error", "tasks", "answers", "standing", "against", "others", "limit", "share")


def benchmark_views(
    records: Sequence[BenchmarkRecord], deployment: str, now: float, reference: str | None
) -> dict[str, Any]:
    """Return a deployment's scores, and its newest refused runs.

    Args:
        records: runs of its model group, in order of time.
        deployment: its key.
        now: UTC seconds.
        reference: as configured.

    Returns:
        ``scores``, one for each benchmark and configuration, with ``runs``, ``run`` and ``at`` of the newest one;
        ``refused``, one for each benchmark whose newest run was refused.
    """
    times = {record.run: record.at for record in records}
    own = [one for one in scores_of(records, now, reference) if one.deployment == deployment]
    scores = [
        {name: value for name, value in asdict(one).items() if name in _SHOWN}
        | {"runs": len(one.runs), "run": one.runs[-1], "at": times[one.runs[-1]]}
        for one in own
    ]
    newest = {one.benchmark: one for one in records if one.deployment == deployment and now - WINDOW_S <= one.at <= now}
    refused = [
        {"benchmark": one.benchmark, "run": one.run, "at": one.at, "reason": one.refused}
        for one in newest.values()
        if one.refused
    ]
    return {"scores": scores, "refused": refused}
