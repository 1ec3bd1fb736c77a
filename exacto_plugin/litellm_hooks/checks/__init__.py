"""Checks of a ``config.yaml``: at the start, and by ``check-config``.

May import the settings, the store, and the hooks that read deployments and requests.
"""
