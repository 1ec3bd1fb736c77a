"""Benchmark runs at regular times: on one machine by systemd, on many by Temporal."""
