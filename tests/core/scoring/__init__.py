"""Tests of the scoring of answers."""
