"""``python -m exacto_plugin``: the command ``exacto``."""

from __future__ import annotations

import sys

from exacto_plugin.cli import main

if __name__ == "__main__":
    sys.exit(main())
