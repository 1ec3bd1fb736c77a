"""Metrics of the plugin where LiteLLM serves its own.

May import ``litellm_hooks.runtime``, the modules of ``litellm_hooks`` and what they may import.
"""
