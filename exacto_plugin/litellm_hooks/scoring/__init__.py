"""Parsing and scoring of LiteLLM's responses.

May import ``litellm_hooks.routing``, ``telemetry`` and what they may import.
"""
