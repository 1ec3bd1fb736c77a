"""Simulation and replay: what a preset would do, found out with the real engine.

Nothing here knows a rule. Tiers, pools and probes come from ``exacto_plugin.core``; this package makes up the world
around it, or reads it from a log, and counts.
"""
