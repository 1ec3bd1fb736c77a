"""Data that an earlier revision wrote, and what is read from it.

``files`` packs and unpacks what lies in ``tests/data/previous``, ``facts`` reads it with today's code, and
``python -m tests.previous DIRECTORY`` writes such data, and the facts, with the code that it runs on.
"""
