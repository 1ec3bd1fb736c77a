"""Installs the clients from npm, once, into a cache of their own."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES: Final = ("@anthropic-ai/claude-code", "@openai/codex")


@dataclass(frozen=True, slots=True)
class Clients:
    """The installed programs.

    Args:
        claude: of Claude Code.
        codex: of Codex.
        versions: as the programs report them.
    """

    claude: Path
    codex: Path
    versions: tuple[str, ...]


def installed(cache: Path, wanted: tuple[str, ...] = PACKAGES) -> Clients:
    """Return the clients, installed where they are not there yet.

    Args:
        cache: folder of the installation.
        wanted: npm packages, with or without a version.

    Raises:
        RuntimeError: npm is missing.
    """
    programs = cache / "node_modules" / ".bin"
    if not (programs / "claude").exists() or not (programs / "codex").exists():
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is needed to install the clients")
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(cache), *wanted]
        subprocess.run(command, check=True, timeout=900)
    found = Clients(programs / "claude", programs / "codex", ())
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    told = (_version(found.claude), _version(found.codex), f"node {node}")
    return Clients(found.claude, found.codex, told)


def _version(program: Path) -> str:
    told = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True, timeout=60)
    return told.stdout.strip()
