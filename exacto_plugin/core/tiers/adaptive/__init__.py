"""The preset ``adaptive``: tests for failure rates, other signals, and probes.

May import what ``core.tiers`` may, and ``core.tiers``.
"""
