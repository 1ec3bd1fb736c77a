"""Tests of the rescue of answers."""
