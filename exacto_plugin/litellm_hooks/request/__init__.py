"""State, policy, conversation and caller of one request.

Reads bodies, provider objects and the defaults of keys and teams. May import ``litellm_hooks.deployments`` and its own
imports.
"""
