"""Tests of the rewriting of HTTP."""
