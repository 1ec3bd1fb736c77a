"""Bytes of HTTP: the middleware, request bodies, and rewritten responses.

May import ``litellm_hooks.rescue``, ``litellm_hooks.request``, what they may import, and ``core.views``.
"""
