"""Metrics and alerts of the plugin on the channels that LiteLLM has for them.

May import ``litellm_hooks.runtime``, the modules of ``litellm_hooks`` and what they may import.
"""
