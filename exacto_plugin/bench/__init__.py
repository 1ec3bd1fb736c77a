"""Benchmark runs, read from the logs of other programs, as scores of deployments.

Imports no benchmark program.
"""
