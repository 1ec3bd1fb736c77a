"""Sample counts in time buckets, per deployment and caller.

Holds the ring buffers, histograms, the buffer of the current minute, the slots of deployments, and the encoding of
windows and deltas. May import ``core.model`` and ``core.stats``.
"""
