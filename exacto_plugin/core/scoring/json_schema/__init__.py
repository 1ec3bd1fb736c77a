"""Validates arguments against a JSON Schema in bounded time and memory.

Prepares a schema, estimates its cost, compiles it for one of two engines and caches the result. Imports nothing of
this package but the limits of ``core.scoring``.
"""
