"""Runs of the verifier as text and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.benchmark_scores.sequential import RunDecision
from exacto_plugin.benchmark_scores.verifier import Comparison
from exacto_plugin.core.wire import to_wire
from exacto_plugin.terminal import printable
from exacto_plugin.text_tables import DataTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from exacto_plugin.records import VerifierRecord

_WORDS = {RunDecision.FLAGGED: "flagged", RunDecision.CLEARED: "cleared", RunDecision.UNDECIDED: "undecided"}


def has_failed(one: Comparison | VerifierRecord) -> bool:
    """Return True for a refused run, and one that flags its deployment."""
    return not isinstance(one, Comparison) or one.decision is RunDecision.FLAGGED


def plain_of(one: Comparison | VerifierRecord) -> dict[str, Any]:
    """Return a run as plain data, with its comparison unless it was refused."""
    if isinstance(one, Comparison):
        return as_plain(one)
    return {name: value for name, value in to_wire(one).items() if name != "triggers"}


def as_plain(one: Comparison) -> dict[str, Any]:
    """Return a run and its comparison as plain data."""
    kept = {name: value for name, value in to_wire(one.record).items() if name != "triggers"}
    return {
        **kept,
        "decision": one.decision.value,
        "against": one.against,
        "limit": one.test.limit,
        "similarity": one.similarity,
    }


def sentence_of(one: Comparison | VerifierRecord) -> str:
    """Return the line on the end of a run."""
    if not isinstance(one, Comparison):
        return f"{one.deployment}: refused: {one.refused}"
    record, against = one.record, f" beside {one.against}" if one.against else ", nothing to compare with"
    alike = "" if one.similarity is None else f"; calls a tool where it does: F1 {one.similarity:.2f}"
    return (
        f"{record.deployment}: {_WORDS[one.decision]} after {record.calls} calls, {record.bad} of them bad "
        f"(limit {one.test.limit:.1%}{against}){alike}; run {record.run}"
    )


def verifier_table(group: str, found: Sequence[Comparison]) -> RenderableType:
    """Return the table of the newest runs of a model group's deployments."""
    table = DataTable(title=f"{group}: newest runs of the verifier")
    for column in ("deployment", "calls", "bad", "limit", "beside", "F1", "verdict", "run"):
        table.add_column(column, overflow="fold")
    for one in found:
        record = one.record
        table.add_row(
            printable(record.deployment),
            str(record.calls),
            str(record.bad),
            f"{one.test.limit:.1%}",
            printable(one.against),
            "" if one.similarity is None else f"{one.similarity:.2f}",
            _WORDS[one.decision],
            printable(record.run),
        )
    return table
