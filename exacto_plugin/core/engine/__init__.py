"""The one stateful object: records samples, recomputes tiers, decides requests.

May import ``core.model``, ``core.windows``, ``core.tiers`` and ``core.routing``.
"""
