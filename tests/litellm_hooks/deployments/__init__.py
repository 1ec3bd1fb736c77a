"""Tests of what LiteLLM's routers have."""
