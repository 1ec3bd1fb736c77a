"""The data of the airline benchmark: taken from either source, and refused when they are others."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from typing import TYPE_CHECKING

import pytest

from exacto_plugin.bench.running import airline_data as module
from exacto_plugin.bench.running.airline_data import airline_data
from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = {name: f"made-up {name}".encode() for name in (*module.FILES, "tau2/domains/airline/tasks.json")}
DIGESTS = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
TASKS = DIGESTS["tau2/domains/airline/tasks.json"]


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES", {name: DIGESTS[name] for name in module.FILES})
    monkeypatch.setattr(module, "TASKS", {TASKS: "made up"})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of tau2-bench."""
    for name, content in CONTENT.items():
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "data"


def test_the_directory_is_used_as_it_is(data: Path, tmp_path: Path) -> None:
    """Nothing is written."""
    assert airline_data(data, tmp_path / "root") == (data, TASKS)
    assert not (tmp_path / "root").exists()


def test_the_wheel_is_unpacked(tmp_path: Path) -> None:
    """Its files have other names and one more newline; tau2 finds its own names."""
    wheel = tmp_path / "inspect_evals-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for packaged, own in module._PACKAGED.items():
            content = CONTENT[own] + b"\n"
            stored = gzip.compress(content) if packaged.endswith(".gz") else content
            file.writestr(f"inspect_evals/tau2/data/{packaged}", stored)
    found, digest = airline_data(wheel, tmp_path / "root")
    assert digest == TASKS
    assert {name: (found / name).read_bytes() for name in CONTENT} == CONTENT
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "installed")
    assert airline_data(tmp_path / "installed" / "inspect_evals" / "tau2" / "data", tmp_path / "root")[0] == found


@pytest.mark.parametrize("name", CONTENT)
def test_other_data_are_refused(data: Path, tmp_path: Path, name: str) -> None:
    """Scores of others cannot be compared."""
    (data / name).write_bytes(b"others")
    with pytest.raises(ExactoError, match=f"{name} is not that of tau2-bench"):
        airline_data(data, tmp_path)
    (data / name).unlink()
    with pytest.raises(ExactoError, match="has not the data of the airline benchmark"):
        airline_data(data, tmp_path)


def test_what_is_no_wheel(tmp_path: Path) -> None:
    """The message says what to name."""
    (tmp_path / "x.whl").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    for name in ("x.whl", "empty.whl", "missing.whl"):
        with pytest.raises(ExactoError, match="name the directory data of tau2-bench-verified"):
            airline_data(tmp_path / name, tmp_path)
