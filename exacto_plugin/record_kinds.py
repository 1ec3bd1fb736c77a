"""The kinds of records, each with a retention of its own.

Their names are keys of ``store.retention`` and values of ``exacto.audit.kind``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class RecordKind(StrEnum):
    """A kind of records."""

    REFERENCES = "references"
    """References of peers, and the rules in force."""
    DEPLOYMENTS = "deployments"
    """Tiers, reasons and numbers, and the inputs that they were computed from."""
    TRANSITIONS = "transitions"
    DECISIONS = "decisions"
    HOURS = "hours"
    """Counts by the hour, for ``exacto report``."""
    OVERRIDES = "overrides"
    SETTINGS = "settings"
    OBSERVED = "observed"
    BENCHMARK_SCORES = "benchmark_scores"


LEAST_DAYS: Mapping[RecordKind, float] = {RecordKind.BENCHMARK_SCORES: 90.0}
"""Kinds that are kept longer than configured."""
