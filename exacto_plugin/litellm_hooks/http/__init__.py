"""HTTP layer: authenticated requests, request bodies and responses.

May import ``litellm_hooks.rescue``, ``litellm_hooks.request``, their own imports, and ``core.views``.
"""
