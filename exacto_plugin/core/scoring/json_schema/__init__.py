"""Validates arguments against a JSON Schema in bounded time and memory.

Prepares a schema, estimates its cost, compiles it for one of two engines and caches the result. Of ``core.scoring``
it imports only the limits at run time.
"""
