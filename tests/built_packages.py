"""Builds the wheel and the source distribution, and uses them as somebody does who has no clone.

    python -m tests.built_packages

Compares the wheel of the source distribution with that of the checkout and both with the files in git, reads the
metadata, installs the wheel alone and then with LiteLLM's proxy into a fresh environment, and runs it there. Status 1,
and what failed, when something is wrong.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import ZipFile

from exacto_plugin._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist"
UV: Final = str(Path(sys.executable).with_name("uv"))
PROGRAM: Final = """
import litellm
from exacto_plugin import Exacto

params = {"model": "openai/k", "api_key": "none", "mock_response": "Good morning."}
router = litellm.Router(model_list=[{"model_name": "k", "litellm_params": params}])
with Exacto().attach(router):
    answer = router.completion(model="k:exacto", messages=[{"role": "user", "content": "Hello"}])
print("policy", answer._hidden_params["exacto"]["policy"])
"""
"""One routed call, with what the package brings alone."""


class BuildError(Exception):
    """Something about the built files is wrong; the message says what."""


def run(*command: str, cwd: Path) -> str:
    """Run a command and return what it said.

    Raises:
        BuildError: its status is not 0; with all that it said.
    """
    told = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if told.returncode:
        raise BuildError(f"{' '.join(command)}: status {told.returncode}\n{told.stdout}{told.stderr}")
    return told.stdout


def build(scratch: Path) -> tuple[Path, Path]:
    """Build both into ``dist/`` and return wheel and source distribution.

    Raises:
        BuildError: a build failed, or the checkout makes another wheel than the source distribution.
    """
    for old in DIST.glob("exacto_plugin-*"):
        old.unlink()
    run(UV, "build", "--quiet", "--out-dir", str(DIST), ".", cwd=ROOT)
    run(UV, "build", "--quiet", "--wheel", "--out-dir", str(scratch), ".", cwd=ROOT)
    (wheel,) = DIST.glob("*.whl")
    (source,) = DIST.glob("*.tar.gz")
    if wheel.read_bytes() != (scratch / wheel.name).read_bytes():
        raise BuildError(f"{source.name} makes another {wheel.name} than the checkout")
    return wheel, source


def check_files(wheel: Path, source: Path) -> None:
    """Compare the contents with the files in git.

    Raises:
        BuildError: a file is missing, or is in no commit.
    """
    kept = set(run("git", "ls-files", cwd=ROOT).splitlines())
    with tarfile.open(source) as archive:
        packed = {one.name.partition("/")[2] for one in archive.getmembers() if one.isfile()} - {"PKG-INFO"}
    with ZipFile(wheel) as archived:
        installed = {name for name in archived.namelist() if ".dist-info/" not in name}
    for what, found, expected in (
        (source.name, packed, kept),
        (wheel.name, installed, {name for name in kept if name.startswith("exacto_plugin/")}),
    ):
        if found != expected:
            raise BuildError(f"{what}: missing {sorted(expected - found)}, not in git {sorted(found - expected)}")


def check_metadata(wheel: Path) -> None:
    """Read the metadata.

    Raises:
        BuildError: a field is missing or says something else than the project.
    """
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        found = Parser().parsestr(archive.read(name).decode())
        scripts = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    expected = {
        "Name": project["name"],
        "Version": __version__,
        "Summary": project["description"],
        "License-Expression": project["license"],
        "License-File": "LICENSE",
        "Requires-Python": project["requires-python"],
        "Description-Content-Type": "text/markdown",
    }
    wrong = {key: found[key] for key, value in expected.items() if found[key] != value}
    urls = dict(line.split(", ", 1) for line in found.get_all("Project-URL", []))
    if wrong or urls != project["urls"] or "exacto = exacto_plugin.cli:main" not in scripts:
        raise BuildError(f"metadata of {wheel.name}: {wrong or urls or scripts}")


def smoke(wheel: Path, source: Path, scratch: Path) -> Iterator[str]:
    """Install the wheel into a fresh environment and use it; yield what was tried.

    Raises:
        BuildError: it does not install, or does not do what it should.
    """
    with tarfile.open(source) as archive:
        archive.extractall(scratch, filter="data")
    unpacked = scratch / source.name.removesuffix(".tar.gz")
    home = scratch / "environment"
    python, exacto = str(home / "bin" / "python"), str(home / "bin" / "exacto")
    run(UV, "venv", "--quiet", "--python", sys.executable, str(home), cwd=scratch)
    install = (UV, "pip", "install", "--quiet", "--python", python, "--constraint", str(unpacked / "constraints.txt"))
    tries: tuple[tuple[str, tuple[str, ...], str], ...] = (
        ("exacto --version", (exacto, "--version"), re.escape(__version__)),
        (
            "exacto check-config",
            (exacto, "check-config", "--offline", str(unpacked / "config.example.yaml")),
            "No problems found",
        ),
        ("a program without the proxy", (python, "-c", PROGRAM), "policy exacto"),
        (
            "examples/sdk_direct.py, with the proxy",
            (python, str(unpacked / "examples" / "sdk_direct.py")),
            "5 answers, 100% of them in order",
        ),
    )
    run(*install, str(wheel), cwd=scratch)
    yield "installed"
    for what, command, said in tries:
        if "with the proxy" in what:
            run(*install, f"exacto-plugin[proxy] @ {wheel.as_uri()}", cwd=scratch)
        told = run(*command, cwd=scratch)
        if not re.search(said, told):
            raise BuildError(f"{what}: {said!r} is not in what it said:\n{told}")
        yield what


def main() -> int:
    """Build, check, install and run; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="exacto-dist-") as directory:
        scratch = Path(directory)
        try:
            wheel, source = build(scratch)
            check_files(wheel, source)
            check_metadata(wheel)
            sys.stdout.write(f"{wheel.name} and {source.name}: complete\n")
            for what in smoke(wheel, source, scratch):
                sys.stdout.write(f"{what}: as expected\n")
                sys.stdout.flush()
        except BuildError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
