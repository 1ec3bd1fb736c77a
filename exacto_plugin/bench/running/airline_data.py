"""The data of the airline benchmark, checked by their hashes.

They are those of tau2-bench, in its own directory or in the package inspect_evals, whose files differ by a newline at
the end, and whose tasks are those before their correction in tau2-bench-verified.
"""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from typing import TYPE_CHECKING, Final

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from pathlib import Path

_AIRLINE: Final = "tau2/domains/airline"

FILES: Final = {
    f"{_AIRLINE}/db.json": "1af9fea6e03ca7ca15a22bb3fcaf3e351393e3fc9070b6777947da8996f7531b",
    f"{_AIRLINE}/policy.md": "10dc0525421521208be39cee235bba84a16e2bcba9899eb93d92cd81d2f62fc4",
    f"{_AIRLINE}/split_tasks.json": "b22ced4d9a9850ac9aea31c53bdcb6d6009058140bd9acc7db37c1d36222ba8b",
    "tau2/user_simulator/simulation_guidelines.md": "05f4f48e5beefcb527d81fdee6271ce0e997fa4721e8d3ae4db0e820fb0a9013",
}
"""SHA-256 without newlines at the end. Source: amazon-agi/tau2-bench-verified, commit 9d0d5ae."""

TASKS: Final = {
    "202f0cdb1cf4bc20b8a3284f00e212882a8dda8eaab81d1d69a5dd9676911ebe": "tau2-bench-verified",
    "b5ff0ec1887bc75f31c39ef32f9ed2ae39047b60340da4c14f752477c87e0b8c": "tau2-bench",
}
"""The same of ``tasks.json``, with the name of its source; the second is that of inspect_evals 0.26.0 and 0.28.0."""

_TASKS_FILE: Final = f"{_AIRLINE}/tasks.json"

_PACKAGED: Final = {
    "domains/airline/db.json.gz": f"{_AIRLINE}/db.json",
    "domains/airline/policy.txt": f"{_AIRLINE}/policy.md",
    "domains/airline/split_tasks.json": f"{_AIRLINE}/split_tasks.json",
    "domains/airline/tasks.json": _TASKS_FILE,
    "user_simulator/simulation_guidelines.txt": "tau2/user_simulator/simulation_guidelines.md",
}
"""Names in inspect_evals, below ``inspect_evals/tau2/data``, and in tau2-bench."""


def airline_data(given: Path, root: Path) -> tuple[Path, str]:
    """Return the directory that tau2 reads, and the SHA-256 of its tasks.

    Args:
        given: the ``data`` directory of tau2-bench; or the wheel of inspect_evals, or its ``tau2/data``, which are
            unpacked.
        root: a directory to unpack into.

    Raises:
        ExactoError: a file is missing, or another one than those that scores can be compared for.
    """
    try:
        if given.suffix == ".whl":
            with zipfile.ZipFile(given) as wheel:
                return _unpacked(zipfile.Path(wheel, "inspect_evals/tau2/data/"), root)
        if (given / "domains").is_dir():
            return _unpacked(given, root)
        return given, _checked({name: (given / name).read_bytes() for name in (*FILES, _TASKS_FILE)})
    except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        missing = getattr(error, "filename", None) or error
        raise ExactoError(
            f"{given} has not the data of the airline benchmark ({missing}): name the directory data of "
            "tau2-bench-verified, or the wheel of inspect_evals"
        ) from None


def _unpacked(packaged: Path | zipfile.Path, root: Path) -> tuple[Path, str]:
    found: dict[str, bytes] = {}
    for name, own in _PACKAGED.items():
        data = packaged.joinpath(name).read_bytes()
        found[own] = (gzip.decompress(data) if name.endswith(".gz") else data).rstrip(b"\n")
    digest = _checked(found)
    into = root / f"airline-data-{digest[:10]}"
    for own, data in found.items():
        (into / own).parent.mkdir(parents=True, exist_ok=True)
        (into / own).write_bytes(data)
    return into, digest


def _checked(found: dict[str, bytes]) -> str:
    """Return the SHA-256 of the tasks.

    Raises:
        ExactoError: a file is another one.
    """
    digests = {name: hashlib.sha256(data.rstrip(b"\n")).hexdigest() for name, data in found.items()}
    for name, digest in digests.items():
        if digest not in ((FILES[name],) if name in FILES else TASKS):
            raise ExactoError(
                f"{name} is not that of tau2-bench: its SHA-256 is {digest}; scores of other data cannot be compared"
            )
    return digests[_TASKS_FILE]
