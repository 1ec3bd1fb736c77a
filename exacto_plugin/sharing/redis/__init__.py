"""Exchange, conversations and overrides shared through Redis.

May import what ``sharing`` may, and ``sharing``.
"""
