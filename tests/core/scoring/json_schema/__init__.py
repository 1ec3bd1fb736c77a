"""Tests of the validation of arguments."""
