"""Settings of the page at ``/exacto``."""

from __future__ import annotations

from typing import Literal

from exacto_plugin.config.blocks import SettingsBlock


class WebSettings(SettingsBlock):
    """Settings of the page at ``/exacto``.

    The API under ``/exacto/api`` is always there.
    """

    enabled: bool = True
    """Serve the page.
    On by default: it holds no data, and asks for a key."""
    access: Literal["admin", "keys"] = "admin"
    """``admin`` | ``keys``: the keys that the page answers.
    ``admin``: those of administrators and admin viewers. ``keys``: every valid key too, read only, for the models that
    it may call, without spend, callers and requests; not with ``expose.providers: false``, as the page names them."""
