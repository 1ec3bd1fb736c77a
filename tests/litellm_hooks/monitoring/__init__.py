"""Tests of what LiteLLM tells an operator."""
