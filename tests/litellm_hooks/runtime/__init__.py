"""Tests of the services of the process."""
