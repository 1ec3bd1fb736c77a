"""Tests of the benchmark runs."""
