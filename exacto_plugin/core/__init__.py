"""The rules of the plugin, without I/O, clocks or frameworks.

Time is an argument. ``model`` defines the records and imports nothing else; ``codec`` and ``wire`` convert them to
plain data. The packages ``stats``, ``windows``, ``scoring``, ``tiers``, ``routing`` and ``engine`` are layers;
recomputes and requests meet only in ``engine``. Imports only the standard library, NumPy, cachetools, orjson and the
JSON Schema packages.
"""
