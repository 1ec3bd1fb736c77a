"""The command ``exacto``: one module for each of its subcommands.

``exacto_plugin.cli:main`` is the entry point of the console script. May import everything but the hooks that serve
requests.
"""

from exacto_plugin.cli.command import main

__all__ = ["main"]
