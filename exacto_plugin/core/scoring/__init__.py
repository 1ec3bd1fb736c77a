"""Scores one answer: its outcome, its flaws, and the party that caused them.

May import ``core.model`` and ``core.lazy``; not ``core.routing``, ``core.tiers`` or ``core.windows``.
"""
