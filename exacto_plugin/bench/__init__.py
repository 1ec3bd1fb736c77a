"""Benchmark runs: read from the logs of other programs, judged, and kept as scores of deployments.

Nothing here runs inside the proxy or imports a benchmark program.
"""
