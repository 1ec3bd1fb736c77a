"""Decides one request: policy and snapshot in, ranked deployments out.

Holds hard filters, preferences, session affinity, overrides, the probe budget and the rules of rescue. May import
``core.model`` and ``core.lazy``; not ``core.scoring``, ``core.tiers`` or ``core.windows``.
"""
