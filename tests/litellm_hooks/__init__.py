"""Tests of the adapter to LiteLLM, without a proxy."""
