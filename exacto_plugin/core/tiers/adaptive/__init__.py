"""The preset ``adaptive``: tests of failure rates, other signals, and probes.

May import what ``core.tiers`` may, and ``core.tiers``.
"""
