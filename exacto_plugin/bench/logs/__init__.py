"""Readers of the logs of benchmark programs, one module for each form.

Each returns ``BenchmarkRun`` objects, and raises ``LogError`` for a file of its form that it cannot use.
"""
