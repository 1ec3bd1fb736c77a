"""The settings block ``exacto_settings``: its model, sources, diff and messages.

May import ``core``, ``records`` and ``errors``.
"""
