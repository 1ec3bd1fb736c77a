"""Simulated providers and the demonstration that runs on them; nothing here serves real requests."""
