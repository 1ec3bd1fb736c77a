"""Process services: timer, samples, recorder, replication, overrides, reload.

May import ``litellm_hooks.deployments``, ``litellm_hooks.request``, ``store``, ``sharing`` and ``records``; no hook
class.
"""
