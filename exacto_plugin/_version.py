"""The version of the package, from which the build takes it."""

from __future__ import annotations

__version__ = "0.2.0"
