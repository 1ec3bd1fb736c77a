"""Tests of the reading of responses."""
