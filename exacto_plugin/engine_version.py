"""The name of what makes verdicts here, as records carry it."""

from __future__ import annotations

import platform

import numpy as np

from exacto_plugin import __version__

ENGINE_VERSION = f"{__version__}, numpy {np.__version__}, {platform.machine()}"
"""What must be the same for verdicts to follow bit for bit again."""
