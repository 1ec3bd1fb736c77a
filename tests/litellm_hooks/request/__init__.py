"""Tests of what a request asks for."""
