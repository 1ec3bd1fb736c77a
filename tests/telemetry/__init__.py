"""Tests of the metrics where an operator reads them."""
