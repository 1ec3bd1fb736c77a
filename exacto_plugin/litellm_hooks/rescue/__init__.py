"""Replacement of an answer with a bad tool call by another deployment's.

Buffers streams for each API surface and sends the retry request. May import ``litellm_hooks.scoring`` and its own
imports.
"""
