"""Tests of ``exacto_settings``."""
