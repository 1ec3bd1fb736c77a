"""Benchmarks in a container: a killed one leaves no score, and the files of examples/ fit together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml
from sqlalchemy import update

from exacto_plugin.bench.parcels.simulated import SimulatedParcelModels, Skill
from exacto_plugin.bench.running.specifications import SPECIFICATIONS
from exacto_plugin.benchmark_scores.source import runs_since
from exacto_plugin.cli.command import _parser
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading
from exacto_plugin.store.tables import documents
from tests.bench.harness import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


class Container:
    """The command that a container runs, with all that a volume keeps between two of them."""

    def __init__(self, folder: Path, models: SimulatedParcelModels) -> None:
        self.folder, self.models = folder, models
        self.store = location_of_url(f"sqlite:///{folder}/exacto.db")
        entry = {
            "model_name": "g",
            "litellm_params": {"model": "openai/m", "api_base": models.api_base("one"), "api_key": "k"},
            "model_info": {"id": "one", "provider": "one"},
        }
        block = {"store": {"url": f"sqlite:///{folder}/exacto.db"}}
        (folder / "config.yaml").write_text(yaml.safe_dump({"model_list": [entry], "exacto_settings": block}))
        environment(folder / "environment")

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command as the first process of a session."""
        run = [sys.executable, "-m", "exacto_plugin", "bench", "run", "parcels", "--config", "config.yaml"]
        kept = ["--environment", "environment", "--directory", "."]
        own = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([*run, *kept], cwd=self.folder, env=own, start_new_session=True)

    def scored(self) -> list[str]:
        """The deployments with a score."""
        with reading(self.store) as connection:
            return [one.deployment for runs in runs_since(connection, 0).values() for one in runs if not one.refused]

    def end_leases(self) -> None:
        """Let the lease of a killed container end."""
        with connect(self.store, writing=True) as connection, connection.begin():
            leases = documents.c.name.like("bench/lease/%")
            connection.execute(update(documents).where(leases).values(payload=json.dumps(["gone", time.time() - 1])))


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A deployment that answers slowly."""
    with SimulatedParcelModels({"one": Skill(latency_s=0.1)}) as models:
        yield Container(tmp_path, models)


def _await(true: Any) -> None:
    ends = time.monotonic() + 120
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_killed_container_leaves_no_score(container: Container) -> None:
    """All its processes die at once; the next one goes on with the answers that are missing."""
    with container.start() as first:
        _await(lambda: container.models.requests["one"] > 20)
        below = psutil.Process(first.pid).children(recursive=True)
        os.killpg(first.pid, signal.SIGKILL)
        for one in below:  # the isolated proxy and the program have sessions of their own
            one.kill()
    assert container.scored() == []
    container.models.skills["one"] = Skill()
    container.end_leases()
    asked = container.models.requests["one"]
    with container.start() as second:
        assert second.wait(120) == 0
    assert container.models.requests["one"] - asked < 148 - 10
    assert container.scored() == ["one"]


def test_a_stopped_container_leaves_no_score(container: Container) -> None:
    """SIGTERM to the first process ends all of them, and gives the lease back."""
    with container.start() as first:
        _await(lambda: container.models.requests["one"] > 20)
        below = psutil.Process(first.pid).children(recursive=True)
        first.terminate()
        assert first.wait(60) != 0
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []
    assert container.scored() == []
    with reading(container.store) as connection:
        names = connection.execute(documents.select()).scalars().all()
    assert not [one for one in names if str(one).startswith("bench/lease/")]


def test_the_files_fit_together() -> None:
    """The image has the pinned versions, the job's command is one, and what it mounts is there."""
    image = (EXAMPLES / "benchmarks" / "Dockerfile").read_text(encoding="utf-8")
    for package in {one for name in ("parcels", "gpqa") for one in SPECIFICATIONS[name].packages}:
        assert f"'{package}'" in image
    kubernetes = EXAMPLES / "kubernetes"
    served = {one["kind"]: one for one in yaml.safe_load_all((kubernetes / "exacto.yaml").read_text(encoding="utf-8"))}
    job = {one["kind"]: one for one in yaml.safe_load_all((kubernetes / "benchmarks.yaml").read_text(encoding="utf-8"))}
    pod = job["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    entry = json.loads(image.split("ENTRYPOINT", 1)[1])[2].split("exec exacto ")[1].replace('"$@"', "{}").split()
    arguments = [part for one in entry for part in (container["args"] if one == "{}" else [one])]
    options = _parser().parse_args(arguments)
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert str(options.config) == f"{mounts['config']}/config.yaml"
    assert str(options.directory) == mounts["runs"]
    assert container["resources"]["limits"]["memory"] == "16Gi"
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["config"]["configMap"]["name"] == served["ConfigMap"]["metadata"]["name"]
    assert volumes["runs"]["persistentVolumeClaim"]["claimName"] == job["PersistentVolumeClaim"]["metadata"]["name"]
    assert container["envFrom"] == served["Deployment"]["spec"]["template"]["spec"]["containers"][0]["envFrom"]
