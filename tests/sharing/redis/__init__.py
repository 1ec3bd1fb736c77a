"""Tests against a real Redis server."""
