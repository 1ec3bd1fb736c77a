"""``python -m tests.compat``: what works with which LiteLLM; behind ``make compat``.

For every version: (a) the names of LiteLLM that the package uses are looked for in the wheel, (b) the smoke runs in an
environment of its own, (c) a dry run shows what ``pip install`` of the package would change there. Versions of the list
fail the run; newer ones of the index only warn.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.version import Version

from tests.compat.cells import Cell, kept_cells, kept_database_rows, run_cell
from tests.compat.contract.check import Contract, check_wheel
from tests.compat.contract.uses import listed
from tests.compat.contract.wheel import Wheel
from tests.compat.page import page
from tests.compat.versions import LISTED, download, newer, on_index

if TYPE_CHECKING:
    from collections.abc import Sequence

_REPOSITORY: Final = Path(__file__).parents[2]
_PYTHONS: Final = ("3.11", "3.12", "3.13")
_WITH_EVERY_PYTHON: Final = ("1.106.12", "1.108.7", "1.110.2")
_UNTRIED: Final = Path(__file__).with_name("untried.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, print it as it comes, and write the page after a whole run."""
    options = _parser().parse_args(arguments)
    more = [] if options.listed_only or options.version else newer(on_index())
    versions = [*LISTED, *more]
    wanted = options.version or versions
    contracts = {version: _contract(version, options.cache / "wheels") for version in versions}
    pairs = [] if options.contract_only else _pairs(wanted, options.python)
    cells = [_shown(run_cell(version, python, options.cache, _REPOSITORY)) for version, python in pairs]
    faults = [
        *(f"LiteLLM {version}: {fault}" for version in LISTED for fault in _faults_of(contracts[version])),
        *(f"LiteLLM {cell.version}: {fault}" for cell in cells if cell.version in LISTED for fault in cell.faults),
    ]
    warnings = [
        *(f"LiteLLM {version}: {fault}" for version in more for fault in _faults_of(contracts[version])),
        *(f"LiteLLM {cell.version}: {fault}" for cell in cells if cell.version in more for fault in cell.faults),
        *(
            f"LiteLLM {cell.version}: {name} is ok, take it out of known_off.py"
            for cell in cells
            for name in cell.mended
        ),
    ]
    whole = not (options.contract_only or options.version or options.listed_only)
    if whole or options.write:
        target = options.write or _REPOSITORY / "docs" / "compatibility.md"
        day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        every = _ordered([*kept_cells(options.cache, _REPOSITORY), *cells])
        target.write_text(page(every, contracts, kept_database_rows(options.cache), _UNTRIED.read_text(), day))
    sys.stdout.writelines(f"warning: {one}\n" for one in dict.fromkeys(warnings))
    sys.stdout.writelines(f"FAULT: {one}\n" for one in dict.fromkeys(faults))
    sys.stdout.write(f"compat: {len(contracts)} wheels, {len(cells)} environments, {len(faults)} faults\n")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--contract-only", action="store_true", help="only look for names in the wheels")
    parser.add_argument("--listed-only", action="store_true", help="do not ask the index for newer versions")
    parser.add_argument("--version", action="append", default=[], help="smoke of this version only; may be repeated")
    parser.add_argument("--python", action="append", default=[], help="interpreter for all; may be repeated")
    parser.add_argument("--cache", type=Path, default=_REPOSITORY / ".compat", help="environments, wheels, results")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="write the page there, also after part of a run; what earlier runs kept is in it",
    )
    return parser


def _pairs(versions: Sequence[str], pythons: Sequence[str]) -> list[tuple[str, str]]:
    """Versions with interpreters: all with the first, some with every one that is here."""
    if pythons:
        return [(version, python) for version in versions for python in pythons]
    own = getattr(sys, "_base_executable", sys.executable)
    others = [] if len(versions) < len(LISTED) else _interpreters()
    return [
        *((version, own) for version in versions),
        *((version, other) for other in others for version in versions if version in _WITH_EVERY_PYTHON),
    ]


def _ordered(cells: Sequence[Cell]) -> list[Cell]:
    """The last of each version with each Python, by version."""
    last = {(Version(cell.version), Version(cell.python)): cell for cell in cells}
    return [last[key] for key in sorted(last)]


def _interpreters() -> list[str]:
    """Interpreters of other versions of Python than this one: on the path, or where pyenv keeps them."""
    own = ".".join(platform.python_version_tuple()[:2])
    found = [_interpreter(one) for one in _PYTHONS if one != own]
    return [one for one in found if one]


def _interpreter(version: str) -> str:
    kept = sorted(Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob(f"versions/{version}.*/bin/python"))
    named = shutil.which(f"python{version}")
    return next((one for one in (*([named] if named else ()), *map(str, kept)) if _runs(one)), "")


def _runs(interpreter: str) -> bool:
    return subprocess.run([interpreter, "-c", "import venv"], capture_output=True, check=False).returncode == 0


def _contract(version: str, folder: Path) -> Contract | str:
    try:
        wheel = Wheel(download(version, folder))
    except RuntimeError as error:
        return str(error)
    found = check_wheel(wheel, listed(), Version(version))
    told = f"{found.checked - len(found.absent) - len(found.broken)} of {found.checked} names"
    sys.stdout.write(f"LiteLLM {version}: {told}, {len(found.absent)} known to be missing\n")
    sys.stdout.flush()
    return found


def _faults_of(contract: Contract | str) -> Sequence[str]:
    return [contract] if isinstance(contract, str) else contract.broken


def _shown(cell: Cell) -> Cell:
    counts = ", ".join(f"{count} {status}" for status, count in sorted(cell.counts.items())) or cell.failed
    place = "" if cell.environment is None else f"; pip changes {', '.join(cell.environment.changes) or 'nothing'}"
    sys.stdout.write(f"LiteLLM {cell.version}, Python {cell.python}: {counts}{place}\n")
    sys.stdout.flush()
    return cell


if __name__ == "__main__":
    sys.exit(main())
