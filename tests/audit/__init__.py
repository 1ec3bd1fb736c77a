"""Tests of the questions to the record."""
