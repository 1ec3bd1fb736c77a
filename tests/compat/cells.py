"""One version of LiteLLM with one Python: environment, smoke, and whether that is good enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.version import Version

from tests.compat.environments import Environment, environment, requirements
from tests.compat.judging import Status
from tests.compat.known_off import known_off

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMEOUT_S: Final = 1200
_ONLY_SOME: Final = ("tests/litellm_hooks/routing/test_early_pool.py",)
"""Where the tests marked ``dry_run`` are."""
_NO_TESTS: Final = 5
"""pytest's status where every test was left out."""


@dataclass(frozen=True)
class Cell:
    """What one version came to with one Python.

    Args:
        version: of LiteLLM.
        python: version of Python.
        environment: None where it could not be made.
        rows: the smoke's, as ``python -m tests.compat.smoke --json`` writes them.
        features: what the proxy and the program said of their features.
        failed: why there are no rows.
        tests: the result of the tests for some versions only; empty where none is for this one.
    """

    version: str
    python: str
    environment: Environment | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    features: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: str = ""
    tests: str = ""

    def status(self, line: str) -> str:
        """The result of a ``CHANNEL/ROW``; empty where it was not asked."""
        found = {row["name"]: "lucky" if row["lucky"] else str(row["status"]) for row in self.rows}
        return found.get(line, "")

    @property
    def counts(self) -> Counter[str]:
        """How many lines have each result."""
        return Counter(self.status(row["name"]) for row in self.rows)

    @property
    def faults(self) -> list[str]:
        """Everything that must not be, one text each."""
        found = [self.failed] if self.failed else []
        found += [f"tests: {self.tests}"] if self.tests not in ("", Status.OK) else []
        if self.environment is not None:
            found += [f"installing the package changes {change}" for change in self.environment.changes]
        known = known_off(self.version)
        for row in self.rows:
            status = self.status(row["name"])
            if status != Status.OK and not (status == Status.OFF and row["name"] in known):
                found.append(f"{row['name']} is {status}: {row['note']}")
        return found

    @property
    def mended(self) -> list[str]:
        """Lines that are listed as off and are ok."""
        known = known_off(self.version)
        return sorted(row["name"] for row in self.rows if row["name"] in known and row["status"] == Status.OK)


def run_cell(version: str, python: str, cache: Path, checkout: Path) -> Cell:
    """Make the environment of a version, run the smoke in it, and keep the result.

    Args:
        version: of LiteLLM.
        python: the interpreter to make the environment from.
        cache: folder of environments, wheels and results.
        checkout: the repository of the package.
    """
    found = _run(version, python, cache, checkout)
    kept = {"source": _source(checkout), **asdict(found)}
    _results(cache).joinpath(f"cell-{version}-{found.python}.json").write_text(json.dumps(kept, default=str))
    return found


def kept_cells(cache: Path, checkout: Path) -> list[Cell]:
    """The results that earlier runs kept for the same source of the package."""
    cells = []
    for path in sorted(_results(cache).glob("cell-*.json")):
        told = json.loads(path.read_text())
        if told.pop("source") == _source(checkout):
            place = told.pop("environment")
            cells.append(Cell(**told, environment=place and _environment(place)))
    return cells


def kept_database_rows(cache: Path) -> dict[str, dict[str, str]]:
    """What ``tests.compat.database`` kept: version -> row -> fault, which is empty for a row that is right."""
    files = sorted(_results(cache).glob("database-*.json"), key=lambda path: Version(path.stem.partition("-")[2]))
    return {path.stem.partition("-")[2]: json.loads(path.read_text()) for path in files}


def _environment(told: Mapping[str, Any]) -> Environment:
    lists = {name: tuple(told[name]) for name in ("changes", "added")}
    return Environment(Path(told["interpreter"]), told["way"], **lists)


def _results(cache: Path) -> Path:
    folder = cache / "results"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _source(checkout: Path) -> str:
    """A text that changes with the source of the package and its requirements."""
    files = sorted((checkout / "exacto_plugin").rglob("*.py"))
    wanted = "\n".join(requirements(checkout)).encode()
    return sha256(b"".join([*(path.read_bytes() for path in files), wanted])).hexdigest()


def _run(version: str, python: str, cache: Path, checkout: Path) -> Cell:
    shown = subprocess.run([python, "-c", _PYTHON], capture_output=True, text=True, check=True).stdout.strip()
    try:
        place = environment(version, python, cache, checkout)
    except RuntimeError as error:
        return Cell(version, shown, failed=f"no environment: {error}")
    written = _results(cache) / f"{version}-python{shown}.json"
    written.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.compat.smoke", "--python", str(place.interpreter)]
    command += ["--checkout", str(checkout), "--json", str(written)]
    with written.with_suffix(".log").open("w") as log:
        subprocess.run(command, stdout=log, stderr=log, check=False, timeout=_TIMEOUT_S, cwd=Path(__file__).parents[2])
    if not written.exists():
        return Cell(version, shown, place, failed=f"the smoke did not end well, see {written.with_suffix('.log').name}")
    told = json.loads(written.read_text())
    return Cell(version, shown, place, told["rows"], told["features"], tests=_tests(place.interpreter, checkout))


def _tests(interpreter: Path, checkout: Path) -> str:
    """Run the tests that the suite leaves out with another LiteLLM; those for no such version are left out here too."""
    command = [str(interpreter), "-m", "pytest", "-q", "-m", "dry_run", "-p", "no:cacheprovider", *_ONLY_SOME]
    own = {**os.environ, "PYTHONPATH": str(checkout), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout, env=own)
    if done.returncode == _NO_TESTS:
        return ""
    return Status.OK if done.returncode == 0 else (done.stdout.strip().splitlines() or ["no output"])[-1]


_PYTHON: Final = "import platform; print(platform.python_version())"
