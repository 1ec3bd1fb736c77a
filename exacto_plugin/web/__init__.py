"""The JSON API of a running proxy, for people and programs.

May import ``audit``, ``core`` and ``litellm_hooks.runtime``.
"""
