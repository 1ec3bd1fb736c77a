"""Several processes with one set of verdicts: protocol, replicas, announcements.

One process leads: it recomputes and saves. The others send their counts and read its results. May import ``core`` and
``errors``.
"""
