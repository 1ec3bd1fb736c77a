"""Tests of the command ``exacto``."""
