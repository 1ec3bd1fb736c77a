"""Parses LiteLLM's responses and scores them.

May import ``litellm_hooks.routing``, ``telemetry`` and what they may import.
"""
