"""The rules of the plugin, without I/O, clocks or frameworks; time is an argument.

``model`` has the records that flow and imports nothing. ``codec`` and ``views`` turn them into plain data. The packages
``stats``, ``windows``, ``scoring``, ``tiers``, ``routing`` and ``engine`` are layers: recomputes and requests meet only
in X the standard library, NumPy, cachetools, orjson and the JSON Schema
packages.
"""
