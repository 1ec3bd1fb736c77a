"""Answers questions to the record: why a tier, what changed, does it recompute.

Queries, verification, conditions of readmission, reports, and the sentences for people. May import ``core``,
``records``, ``store`` and ``errors``.
"""
