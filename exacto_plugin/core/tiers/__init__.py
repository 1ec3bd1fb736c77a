"""Turns windows into tiers with reasons, on a timer.

Holds the rule of the preset ``openrouter`` and what both presets share: columns of evidence, members of model groups,
and the records of what a recompute changed. May import ``core.model``, ``core.lazy``, ``core.stats`` and
``core.windows``.
"""
