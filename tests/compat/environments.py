"""Virtual environments with one version of LiteLLM, made once, and what installing the package there would do.

Where LiteLLM's proxy extra does not resolve because the index lacks a companion package of that version, the
requirements of the extra are installed without the companions, and of these the newest that there are, without theirs.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.compat.contract.wheel import Wheel
from tests.compat.versions import download

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_TIMEOUT_S: Final = 1200
_COMPANIONS: Final = ("litellm-proxy-extras", "litellm-enterprise")
_BESIDE: Final = ("semver",)
"""What LiteLLM imports and gets from a companion."""
_FOR_THE_SMOKE: Final = ("prisma", "hypothesis", "pytest", "pytest-asyncio")
"""Without the first LiteLLM answers 500 where a key is refused; the others run the tests for some versions only."""
_TAIL: Final = 1_000


@dataclass(frozen=True, slots=True)
class Environment:
    """One of them.

    Args:
        interpreter: its Python.
        way: how the proxy's requirements were installed.
        changes: distributions that installing the package would change or remove; empty: none.
        added: distributions that it would add.
    """

    interpreter: Path
    way: str
    changes: tuple[str, ...]
    added: tuple[str, ...]


def environment(version: str, python: str, cache: Path, checkout: Path) -> Environment:
    """The environment of a version, made where it is not there yet.

    Args:
        version: of LiteLLM.
        python: the interpreter to make it from.
        cache: folder of all environments and wheels.
        checkout: the repository of the package.

    Raises:
        RuntimeError: something cannot be installed; the message has the end of what the installer said.
    """
    label = subprocess.run([python, "-c", _LABEL], capture_output=True, text=True, check=True).stdout.strip()
    home = cache / "envs" / f"{version}-{label}"
    wanted = requirements(checkout)
    key = sha256(json.dumps([version, *wanted, *_BESIDE, *_FOR_THE_SMOKE]).encode()).hexdigest()
    state = home / "state.json"
    interpreter = home / "bin" / "python"
    told = json.loads(state.read_text()) if state.exists() else {}
    if told.get("key") != key:
        shutil.rmtree(home, ignore_errors=True)
        _created(python, home)
        way = _install_litellm(interpreter, version, cache / "wheels")
        before = frozen(interpreter)
        changes, added = dry_run(interpreter, before, checkout)
        _install(interpreter, [*wanted, *_FOR_THE_SMOKE])
        changes = [*changes, *_changed(before, frozen(interpreter))]
        told = {"key": key, "way": way, "changes": sorted({*changes}), "added": sorted(added)}
        state.write_text(json.dumps(told))
    return Environment(interpreter, told["way"], tuple(told["changes"]), tuple(told["added"]))


_LABEL: Final = "import sys; print('python%d.%d' % sys.version_info[:2])"


def requirements(checkout: Path) -> list[str]:
    """What the package itself requires."""
    return list(tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["dependencies"])


def frozen(interpreter: Path) -> dict[str, str]:
    """The distributions of an environment: name -> version."""
    lister = "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    told = subprocess.run([str(interpreter), "-P", "-c", lister], capture_output=True, text=True, check=True)
    return {canonicalize_name(name): version for name, version in json.loads(told.stdout)}


def dry_run(interpreter: Path, before: Mapping[str, str], checkout: Path) -> tuple[list[str], list[str]]:
    """What ``pip install PACKAGE`` would do to an environment: distributions that change, and those that are added."""
    with tempfile.TemporaryDirectory(prefix="exacto-compat-") as directory:
        report = Path(directory, "report.json")
        command = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet", "--dry-run"]
        _run([*command, "--report", str(report), str(checkout)])
        planned = [one["metadata"] for one in json.loads(report.read_text())["install"]]
    after = {canonicalize_name(one["name"]): one["version"] for one in planned}
    changes = [f"{name} {before[name]} -> {version}" for name, version in after.items() if name in before]
    return changes, [f"{name} {version}" for name, version in after.items() if name not in before]


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterable[str]:
    """Distributions that are gone or have another version."""
    for name, version in before.items():
        if after.get(name) != version:
            yield f"{name} {version} -> {after.get(name, 'removed')}"


# --- installing -----------------------------------------------------------------------------------------------------


def _install_litellm(interpreter: Path, version: str, wheels: Path) -> str:
    try:
        _install(interpreter, [f"litellm[proxy]=={version}"])
    except RuntimeError as error:
        sys.stderr.write(
            f"LiteLLM {version}: its proxy extra does not resolve here, installing it without companions\n"
        )
        sys.stderr.write(f"{error}\n")
    else:
        return "its proxy extra"
    listed = map(Requirement, Wheel(download(version, wheels)).requirements())
    wanted = [one for one in listed if not canonicalize_name(one.name).startswith("litellm") and _of_proxy(one)]
    _install(interpreter, [f"litellm=={version}", *map(_plain, wanted), *_BESIDE])
    _install(interpreter, ["--no-deps", *_COMPANIONS])
    found = frozen(interpreter)
    return "without its companions; " + ", ".join(f"{name} {found[name]}" for name in _COMPANIONS)


def _of_proxy(requirement: Requirement) -> bool:
    """Whether a requirement is one of LiteLLM itself or of its proxy extra."""
    extras = re.findall(r"extra == ['\"]([^'\"]+)['\"]", str(requirement.marker or ""))
    return not extras or "proxy" in extras


def _plain(requirement: Requirement) -> str:
    """A requirement without the extra it stands under."""
    marker = re.sub(r"(\s*and\s*)?extra == ['\"][^'\"]+['\"](\s*and\s*)?", "", str(requirement.marker or ""))
    bare = str(requirement).partition(";")[0].strip()
    return f"{bare} ; {marker}" if marker.strip(" ()") else bare


def _created(python: str, home: Path) -> None:
    if uv := _uv():
        _run([uv, "venv", "--quiet", "--python", python, str(home)])
    else:
        _run([python, "-m", "venv", "--without-pip", str(home)])


def _install(interpreter: Path, wanted: Sequence[str]) -> None:
    if uv := _uv():
        _run([uv, "pip", "install", "--quiet", "--python", str(interpreter), *wanted])
    else:
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", *wanted])


def _uv() -> str | None:
    """The command ``uv``, which takes a tenth of pip's time; None where it cannot be run."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    runs = found and not subprocess.run([found, "--version"], capture_output=True, check=False).returncode
    return found if runs else None


def _run(command: Sequence[str]) -> None:
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if told.returncode:
        raise RuntimeError(f"{' '.join(command[:6])} ... failed:\n{told.stderr.strip()[-_TAIL:]}")
