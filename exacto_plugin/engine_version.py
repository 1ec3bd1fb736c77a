"""The name of the engine that produces verdicts, as stored in records."""

from __future__ import annotations

import platform

import numpy as np

from exacto_plugin._version import __version__

ENGINE_VERSION = f"{__version__}, numpy {np.__version__}, {platform.machine()}"
"""The versions that must be equal to reproduce verdicts bit for bit."""
