"""Applying a policy to LiteLLM's pool, once for each attempt.

Hard filters, the pool of an attempt, failover and session affinity. May import ``litellm_hooks.runtime``,
``litellm_hooks.request`` and what that may import.
"""
