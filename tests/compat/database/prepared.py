"""What LiteLLM needs to use its database in an environment: Prisma's engine, the generated client, and the tables."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from tests.support import postgresql_server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HERE: Final = Path(__file__).parent
_COMMIT: Final = "393aa359c9ad4a4bb28630fb5613f9c281cde053"
"""Of the engine that the Python client is made for."""
_TIMEOUT_S: Final = 600
_TAIL: Final = 1_000


def missing() -> str | None:
    """Why it cannot be tried here; None when it can."""
    absent = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{' and '.join(absent)} are missing" if absent else postgresql_server.missing()


def prepare(interpreter: Path, home: Path) -> dict[str, str]:
    """Install the engine, and generate the client into an environment.

    Args:
        interpreter: of the environment.
        home: folder of the engine, made where it is not there.

    Returns:
        Environment variables for LiteLLM's proxy.

    Raises:
        RuntimeError: something failed; the message has the end of what it said.
    """
    program = _engine(home)
    variables = {
        "PRISMA_QUERY_ENGINE_BINARY": str(program),
        "PRISMA_SCHEMA_ENGINE_BINARY": str(program),
        "PRISMA_QUERY_ENGINE_LIBRARY": str(program),
        "PRISMA_CLI_QUERY_ENGINE_TYPE": "binary",
    }
    schema = home / f"{interpreter.parents[1].name}.prisma"
    found = _package(interpreter, "litellm") / "proxy" / "schema.prisma"
    lines = [line for line in found.read_text().splitlines() if "binaryTargets" not in line]  # else all are downloaded
    schema.write_text("\n".join(lines) + "\n")
    path = f"{interpreter.parent}{os.pathsep}{os.environ['PATH']}"
    prisma = home / "node_modules" / "prisma" / "build" / "index.js"
    _run(["node", str(prisma), "generate", f"--schema={schema}"], home, {**os.environ, **variables, "PATH": path})
    return {**variables, "PATH": path, "DISABLE_SCHEMA_UPDATE": "true"}


def create_tables(interpreter: Path, url: str) -> None:
    """Run the migrations that the environment's ``litellm-proxy-extras`` has, oldest first.

    Raises:
        RuntimeError: one of them failed.
    """
    folder = _package(interpreter, "litellm_proxy_extras") / "migrations"
    with psycopg.connect(url, autocommit=True) as connection:
        for script in sorted(folder.glob("*/migration.sql")):
            try:
                connection.execute(script.read_bytes())
            except psycopg.Error as error:
                raise RuntimeError(f"{script.parent.name}: {error}") from error


def _engine(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "engine.mjs"):
        shutil.copy(_HERE / name, home / name)
    if not (home / "node_modules" / "prisma").exists():
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], home, os.environ)
    program = home / "engine"
    shown = f'if [ "$1" = --version ]; then echo "query-engine {_COMMIT}"; exit; fi'
    program.write_text(f'#!/bin/sh\n{shown}\nexec node "{home}/engine.mjs" "$@"\n')
    program.chmod(0o755)
    return program


def _package(interpreter: Path, name: str) -> Path:
    """Where a package of the environment lies; it is not imported."""
    finder = f"import importlib.util as u; print(u.find_spec({name!r}).submodule_search_locations[0])"
    told = subprocess.run([str(interpreter), "-P", "-c", finder], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip())


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    told = subprocess.run(
        command, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
    )
    if told.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{(told.stderr or told.stdout).strip()[-_TAIL:]}")
