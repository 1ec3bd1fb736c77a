"""Lists the sections that differ from their files; ``--write`` writes the files anew."""

from __future__ import annotations

import argparse
import sys

from tests.wire.golden import SECTIONS, current, frozen, write


def main() -> int:
    """1 when anything differs and was not written."""
    parser = argparse.ArgumentParser(prog="python -m tests.wire", description=__doc__)
    parser.add_argument("--write", action="store_true", help="a reviewed change of what is stored or public")
    options = parser.parse_args()
    different = {name: now for name in SECTIONS if (now := current(name)) != frozen(name)}
    for name, now in different.items():
        sys.stdout.write(f"{name} differs\n")
        if options.write:
            write(name, now)
    return int(bool(different) and not options.write)


if __name__ == "__main__":
    raise SystemExit(main())
