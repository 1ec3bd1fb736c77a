"""Virtual environments of benchmark programs, created on first use.

A program never shares an environment with LiteLLM: their requirements exclude each other.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.bench.running.specifications import BenchmarkSpec

_COMPLETE = ".exacto-complete"
"""File in an environment whose installation ended well."""

_INSTALL_S = 3600.0


def program_of(spec: BenchmarkSpec, environment: Path | None, root: Path) -> Path:
    """Return the program of a benchmark, in an environment that is created if needed.

    Args:
        spec: of the benchmark.
        environment: an existing one, which is used as it is; None: one of our own.
        root: directory for environments of our own.

    Raises:
        ExactoError: the program is not there, or the installation failed; the message has pip's last line.
    """
    place = environment or root / _name(spec)
    if environment is None and not (place / _COMPLETE).exists():
        _create(place, spec.packages)
    program = place / ("Scripts" if os.name == "nt" else "bin") / spec.program
    if not program.exists():
        raise ExactoError(f"{place}: has no program {spec.program!r}; it needs {' '.join(spec.packages)}")
    return program.absolute()


def inspect_of(program: Path) -> str:
    """Return ``inspect`` in the environment of a program, which reads its logs."""
    return str(program.with_name("inspect"))


def has_environment(spec: BenchmarkSpec, environment: Path | None, root: Path) -> bool:
    """Return False if the first run will install packages."""
    return environment is not None or (root / _name(spec) / _COMPLETE).exists()


def default_root() -> Path:
    """Return the directory for environments and runs, in that of XDG for state."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "exacto_plugin" / "bench"


def _name(spec: BenchmarkSpec) -> str:
    """Return a name that changes with the pinned versions and with Python's."""
    text = " ".join((*spec.packages, f"{sys.version_info.major}.{sys.version_info.minor}"))
    return f"environment-{spec.program}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _create(place: Path, packages: Sequence[str]) -> None:
    shutil.rmtree(place, ignore_errors=True)  # an installation that was broken off
    place.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(place)])
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    (place / _COMPLETE).touch()


def _run(command: Sequence[str]) -> None:
    without = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, env=without, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExactoError(f"the environment could not be created: {type(error).__name__}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ExactoError(f"the environment could not be created: {said[-1] if said else 'no output'}")
