"""Tests of the counting over time."""
