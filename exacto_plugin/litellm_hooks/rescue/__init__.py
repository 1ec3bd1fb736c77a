"""Replaces an answer with a bad tool call by one of another deployment.

Buffers streams for each API surface and sends the retry request. May import ``litellm_hooks.scoring`` and what that may
import.
"""
