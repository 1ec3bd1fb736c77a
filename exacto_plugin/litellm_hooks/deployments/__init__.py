"""Deployments of LiteLLM's routers: candidates, names, declared limits.

May import ``core``, ``config`` and the bottom of the adapter.
"""
