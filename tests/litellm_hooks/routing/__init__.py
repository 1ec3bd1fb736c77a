"""Tests of the choice from LiteLLM's pool."""
