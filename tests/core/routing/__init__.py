"""Tests of the decision on a request."""
