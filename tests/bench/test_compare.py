"""``exacto bench compare``: the gain of tiers over default routing, with an honest interval."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from exacto_plugin.benchmark_scores.routing_gain import routing_gains
from exacto_plugin.cli.command import main
from exacto_plugin.records import BenchmarkRecord
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import insert_all
from tests.bench.test_ingest import _judged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOW = 1_750_003_200.0
TASKS = 50


def run(deployment: str, tasks: Mapping[str, float], *, at: float = NOW - 60, refused: str = "") -> BenchmarkRecord:
    """One run of four answers to each task."""
    scores = {task: [mean, 4] for task, mean in tasks.items()}
    mean = sum(tasks.values()) / len(tasks)
    return BenchmarkRecord(
        at, "g", deployment, "tau2_airline", mean, len(tasks), f"{deployment}@{at}", "h", "c", scores, 0.01,
        4 * len(tasks), 0, 10, 10, True, refused,
    )  # fmt: skip


def drawn(draw: np.random.Generator, chances: np.ndarray, drop: float) -> dict[str, float]:
    """Four answers to each task, right as often as its chance says."""
    right = draw.binomial(4, np.clip(chances - drop, 0, 1)) / 4
    return {f"t{place}": float(mean) for place, mean in enumerate(right)}


def test_the_interval_holds_the_true_gain_as_often_as_it_says() -> None:
    """Default routing loses 10 points; 95 of 100 intervals have the gain on these tasks, and most exclude 0."""
    draw, held, certain = np.random.default_rng(3), 0, 0
    for _ in range(300):
        chances = draw.beta(1.3, 0.7, TASKS)
        true = float(np.mean(chances - np.clip(chances - 0.1, 0, 1)))
        runs = [run("baseline/g", drawn(draw, chances, 0.1)), *(run(name, drawn(draw, chances, 0.0)) for name in "ab")]
        (gain,) = routing_gains(runs, ["a", "b"], NOW)
        held += gain.low <= true <= gain.high
        certain += gain.is_certain
        assert gain.tiers - gain.default == pytest.approx(gain.gain)
    assert 0.92 <= held / 300 <= 0.995
    assert certain / 300 > 0.75


def test_only_what_counts_is_compared() -> None:
    """Refused and old runs, deployments that are not verified, and tasks of one side only are left out."""
    draw = np.random.default_rng(1)
    chances = np.full(TASKS, 0.5)
    sides = {name: drawn(draw, chances, 0.0) for name in ("baseline/g", "a", "b", "c")}
    runs = [run(name, tasks) for name, tasks in sides.items()]
    runs += [run("baseline/g", drawn(draw, chances, 0.5), refused="errors"), run("a", sides["c"], at=NOW - 40 * 86_400)]
    (gain,) = routing_gains(runs, ["a", "b", "d"], NOW)
    assert (gain.verified, gain.unmeasured, gain.tasks) == (["a", "b"], ["d"], TASKS)
    expected = np.mean([(sides["a"][task] + sides["b"][task]) / 2 - sides["baseline/g"][task] for task in sides["a"]])
    assert gain.gain == pytest.approx(float(expected))
    other = {f"other {task}": mean for task, mean in sides["a"].items()}
    assert routing_gains([run("baseline/g", sides["baseline/g"]), run("a", other)], ["a"], NOW) == []
    assert routing_gains(runs[1:4], ["a", "b"], NOW) == []


def test_the_command_takes_tiers_from_the_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a run of default routing it says how to get one."""
    url = f"sqlite:///{tmp_path}/exacto.db"
    asyncio.run(_judged(url))
    draw, now = np.random.default_rng(2), time.time()
    chances = draw.beta(1.3, 0.7, TASKS)

    def kept(*runs: BenchmarkRecord) -> None:
        with connect(location_of_url(url), writing=True) as connection, connection.begin():
            insert_all(connection, runs)

    kept(*(run(name, drawn(draw, chances, 0.0), at=now - 60) for name in "ab"))
    assert main(["bench", "compare", "--store", url]) == 1
    assert "`exacto bench run parcels --config FILE --baseline` adds one" in capsys.readouterr().out
    kept(run("baseline/g", drawn(draw, chances, 0.15), at=now - 60))
    assert main(["bench", "compare", "--store", url]) == 0
    assert "(a, b) on 50 common tasks: tiers gain " in capsys.readouterr().out
    assert main(["bench", "compare", "--store", url, "--json"]) == 0
    ((gain,),) = [one["gains"] for one in json.loads(capsys.readouterr().out)["model_groups"]]
    assert gain["low"] < gain["gain"] < gain["high"]
    assert gain["unmeasured"] == ["c"]
