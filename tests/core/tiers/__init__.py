"""Tests of the tier rules."""
