"""Scores of benchmark runs on record: comparisons, verdicts, and a signal."""
