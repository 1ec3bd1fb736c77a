"""Exchange, conversations and overrides shared through Redis.

May import the same as ``sharing``, and ``sharing``.
"""
