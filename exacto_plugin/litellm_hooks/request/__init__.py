"""What one request asks for: its state, policy, conversation and caller.

Reads bodies, provider objects and the defaults of keys and teams. May import ``litellm_hooks.deployments`` and what
that may import.
"""
