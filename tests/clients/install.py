"""Installs the clients from npm, once, into a cache of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES: Final = (
    "@anthropic-ai/claude-code", "@openai/codex", "ai", "@ai-sdk/openai-compatible", "@ai-sdk/openai",
    "@ai-sdk/anthropic", "zod",
)  # fmt: skip
"""Two programs, and the AI SDK with its providers."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The installed programs.

    Args:
        claude: of Claude Code.
        codex: of Codex.
        cache: folder of the AI SDK.
        versions: as the programs report them.
    """

    claude: Path
    codex: Path
    cache: Path
    versions: tuple[str, ...]


def installed(cache: Path, wanted: tuple[str, ...] = PACKAGES) -> Clients:
    """Return the clients, installed where they are not there yet.

    Args:
        cache: folder of the installation.
        wanted: names of npm packages.

    Raises:
        RuntimeError: npm is missing.
    """
    programs = cache / "node_modules" / ".bin"
    if not all((cache / "node_modules" / package).exists() for package in wanted):
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is needed to install the clients")
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(cache), *wanted]
        subprocess.run(command, check=True, timeout=900)
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    claude, codex = programs / "claude", programs / "codex"
    sdk = json.loads((cache / "node_modules" / "ai" / "package.json").read_text())["version"]
    return Clients(claude, codex, cache, (_version(claude), _version(codex), f"ai {sdk}", f"node {node}"))


def _version(program: Path) -> str:
    told = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True, timeout=60)
    return told.stdout.strip()
