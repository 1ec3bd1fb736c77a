"""Simulation and replay: the effect of a preset, computed with the real engine.

No rule is defined here. Tiers, pools and probes come from ``exacto_plugin.core``; this package simulates the providers
and the traffic, or reads them from a log, and counts.
"""
