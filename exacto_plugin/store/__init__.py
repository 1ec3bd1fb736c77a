"""Records, windows and overrides in SQLite or PostgreSQL.

Holds the data that outlives a process. May import ``core``, ``config``, ``records``, ``sharing`` and ``errors``.
"""
