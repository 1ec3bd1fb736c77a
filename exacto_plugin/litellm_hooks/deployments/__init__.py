"""What LiteLLM's routers offer: candidates, names, parameters and declared limits.

May import ``core``, ``config`` and the bottom of the adapter.
"""
