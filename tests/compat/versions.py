"""The versions of LiteLLM that are checked, and those that the index has."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LISTED: Final = ("1.106.2", "1.106.12", "1.108.7", "1.108.14", "1.109.3", "1.110.2")
"""The oldest that is supported, then of each minor release those that must work: a fault fails the run."""

_TIMEOUT_S: Final = 300


def on_index() -> list[Version]:
    """Every version of LiteLLM that the index has, pre-releases included; empty when it does not answer."""
    command = [sys.executable, "-m", "pip", "index", "versions", "--pre", "litellm"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    line = re.search(r"^Available versions: (.*)$", told.stdout, re.MULTILINE)
    return [] if line is None else list(_parsed(line.group(1).split(",")))


def _parsed(texts: Iterable[str]) -> Iterable[Version]:
    for text in texts:
        try:
            yield Version(text.strip())
        except InvalidVersion:
            continue


def newer(found: Iterable[Version]) -> list[str]:
    """Those to look at beside the listed ones, oldest first.

    The newest of each minor release that is listed, the newest release of all, and the newest pre-release if that is
    newer still.
    """
    every = list(found)
    finals = [one for one in every if not one.is_prerelease]
    minors = {Version(text).release[:2] for text in LISTED}
    newest = {max(own) for minor in minors if (own := [one for one in finals if one.release[:2] == minor])}
    newest |= {max(finals)} if finals else set()
    newest |= {one for one in (max(every),) if one.is_prerelease} if every else set()
    return [str(one) for one in sorted(newest) if str(one) not in LISTED and one > Version(LISTED[0])]


def download(version: str, folder: Path) -> Path:
    """The wheel of a version, downloaded once.

    Raises:
        RuntimeError: the index has none; the message has what pip said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"litellm-{version}-*.whl"
    if not (found := sorted(folder.glob(pattern))):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--dest", str(folder), f"litellm=={version}"]
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        if not (found := sorted(folder.glob(pattern))):
            raise RuntimeError(f"no wheel of LiteLLM {version}: {told.stderr.strip()[-500:]}")
    return found[0]
