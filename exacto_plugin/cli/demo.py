"""``exacto demo``: the arguments of the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    import argparse


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("what", nargs="?", choices=("bench",), help="a benchmark instead, from its plan to tiers")
    parser.add_argument("--environment", type=Path, metavar="ENV", help="of `bench`: existing, with Inspect")
    parser.add_argument("--keep", action="store_true", help="leave the proxy running until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port of the proxy (default: a free one)")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="also draw bad calls by provider as a picture")
    add_examples(
        parser,
        "exacto demo                        # some minutes: bad calls before and after",
        "exacto demo --keep --port 4000     # the proxy stays, and can be asked",
        "exacto demo --plot demo.svg",
        "exacto demo bench                  # scores, and the tiers that they make",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demonstration; return its status.

    Raises:
        ExactoError: LiteLLM is there without its proxy.
    """
    if options.what == "bench":
        from exacto_plugin.bench.demonstration import run_bench_demo

        return run_bench_demo(options.environment)
    try:
        from exacto_plugin.demo.run import run_demo
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise ExactoError(
            f"demo runs LiteLLM's proxy, which lacks {error.name}: pip install 'litellm[proxy]'"
        ) from None

    return run_demo(keep=options.keep, port=options.port, plot=options.plot)
