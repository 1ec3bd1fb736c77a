"""Simulated providers and the demonstration with them; serves no real requests."""
