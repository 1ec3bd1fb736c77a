"""Records, windows and overrides in SQLite or PostgreSQL.

Keeps what outlives a process. May import ``core``, ``config``, ``records``, ``sharing`` and ``errors``.
"""
