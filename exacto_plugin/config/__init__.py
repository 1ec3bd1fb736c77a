"""The block ``exacto_settings``: its model, sources, differences and messages.

May import ``core``, ``records`` and ``errors``.
"""
