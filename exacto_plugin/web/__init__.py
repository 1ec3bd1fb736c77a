"""The JSON API of a running proxy, for people and programs.

May import ``audit``, ``core``, ``store``, ``litellm_hooks.runtime`` and the base of ``litellm_hooks``.
"""
