"""Tiers with reasons, computed from the windows at each recompute.

Holds the rule of the preset ``openrouter`` and the modules that both presets share: columns of evidence, members of
model groups, and the records of a recompute's changes. May import ``core.model``, ``core.stats`` and ``core.windows``.
"""
