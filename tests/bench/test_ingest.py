"""``exacto bench``: from logs to a tier, through a real store."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.audit.views import why
from exacto_plugin.cli.command import main
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Sample, Tier
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.records import BenchmarkRecord
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import insert_all, reading
from tests.bench.logs import inspect_log, written
from tests.support.runtimes import router

if TYPE_CHECKING:
    from pathlib import Path

PROVIDERS = ("a", "b", "c")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store in which three deployments of one model group are on record."""
    url = f"sqlite:///{tmp_path}/exacto.db"
    asyncio.run(_judged(url))
    return url


async def _judged(url: str, **block: Any) -> dict[str, Tier]:
    """Recompute once in a process with this store, and return the tiers."""
    now = time.time()
    runtime = Runtime(Settings.model_validate(block), place=location_of_url(url))
    runtime.routers.add(router("g", keys="abc"))
    for key in PROVIDERS:
        for _ in range(300):
            sample = Sample("g", DeploymentKey(key), now - 60, tools_offered=True, outcome=Outcome.VALID)
            runtime.samples.record(sample, Candidate(LiteLLMId(key), DeploymentKey(key), f"provider-{key}"))
    await runtime.recomputer.recompute()
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "exacto-record"))
    assert await asyncio.to_thread(runtime.store.flush, 60.0)
    runtime.store.close()
    return {str(key): verdict.tier for key, verdict in runtime.engine.measured.groups["g"].verdicts.items()}


def ingested(store: str, *logs: Path, options: tuple[str, ...] = ()) -> int:
    """Run ``exacto bench ingest``."""
    return main(["bench", "ingest", *map(str, logs), "--store", store, *options])


def logs(folder: Path, **rates: float) -> list[Path]:
    """Four logs for each deployment."""
    return [
        written(folder, f"{name}{number}.json", inspect_log(name, rate, seed=number))
        for name, rate in rates.items()
        for number in range(4)
    ]


@pytest.mark.parametrize(("preset", "poor"), [("adaptive", "b"), ("openrouter", None)])
def test_a_significantly_lower_score_deranks(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], preset: str, poor: str | None
) -> None:
    """With the paired test; among three scores two deviations of the published rule reach none."""
    assert ingested(store, *logs(tmp_path, a=0.8, b=0.5, c=0.8)) == 0
    assert "b0.json: parcel_desk b: " in capsys.readouterr().out
    tiers = asyncio.run(_judged(store, tiers={"preset": preset}))
    assert {name for name, tier in tiers.items() if tier is Tier.DERANKED} == ({poor} if poor else set())
    if poor:
        with reading(location_of_url(store)) as connection:
            (view,) = why(connection, "b", time.time(), past=False)
        assert "benchmark score" in why_sentence(view)


def test_missing_scores_derank_nobody(store: str, tmp_path: Path) -> None:
    """One deployment with a score, two without."""
    assert ingested(store, *logs(tmp_path, b=0.2)) == 0
    assert Tier.DERANKED not in asyncio.run(_judged(store)).values()


def test_a_reference_by_name(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`bench show` tells the share of its score; with the setting it decides as well."""
    ingested(store, *logs(tmp_path, a=0.9, b=0.5, c=0.5))
    capsys.readouterr()
    assert main(["bench", "show", "--store", store, "--reference", "a", "--json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["model_groups"]
    standings = {one["deployment"]: one["standing"] for one in group["scores"]}
    assert standings == {"a": "reference", "b": "significantly_below", "c": "significantly_below"}
    tiers = asyncio.run(_judged(store, benchmarks={"reference": {"g": "a"}}))
    assert tiers["a"] is not Tier.DERANKED
    assert Tier.DERANKED in (tiers["b"], tiers["c"])


REFUSED = {
    "errors": ({"errors": 9}, "9 of 80 answers ended in an error"),
    "failed": ({"status": "error"}, "the run did not end well"),
    "silent": ({"silent": True}, "the deployment generated no token"),
    "short": ({"tasks": 20}, "20 scored tasks, 30 are needed"),
    "other": ({"answered": "backup"}, "other deployments answered: backup"),
    "unknown": ({"name": "zz"}, "no deployment on record is called 'zz'"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_runs_that_do_not_count(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], reason: str
) -> None:
    """Each with its reason and status 1; nothing of it becomes a score."""
    log = inspect_log(change.get("name", "b"), 0.1, tasks=change.get("tasks", 40))
    log["status"] = change.get("status", "success")
    for sample in log["samples"][: change.get("errors", 0)]:
        sample["error"] = {"message": "503"}
    if change.get("silent"):
        log["stats"]["model_usage"]["openai-api/litellm/b"]["output_tokens"] = 0
    if answered := change.get("answered"):
        log["samples"][3]["output"]["model"] = answered
    assert ingested(store, written(tmp_path, "run.json", log)) == 1
    assert f"refused: {reason}" in capsys.readouterr().out
    assert Tier.DERANKED not in asyncio.run(_judged(store)).values()


def test_the_same_log_counts_once(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Read again it is refused, and the scores stay as they are."""
    (log, *_) = logs(tmp_path, a=0.8)
    assert ingested(store, log) == 0
    assert ingested(store, log) == 1
    assert "this log was read before" in capsys.readouterr().out
    main(["bench", "show", "--store", store, "--json"])
    (group,) = json.loads(capsys.readouterr().out)["model_groups"]
    assert [len(one["runs"]) for one in group["scores"]] == [1]


def test_no_text_of_a_task_is_kept(store: str, tmp_path: Path) -> None:
    """Neither in the file nor in its journal."""
    log = inspect_log("a", 0.8)
    for sample in log["samples"]:
        sample["id"], sample["input"] = f"CANARY-{sample['id']}", "CANARY"
    assert ingested(store, written(tmp_path, "run.json", log)) == 0
    assert all(b"CANARY" not in path.read_bytes() for path in tmp_path.glob("exacto.db*"))


def test_a_deployment_that_served_nothing_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its model group has to be named then."""
    store = f"sqlite:///{tmp_path}/new.db"
    (log, *_) = logs(tmp_path, a=0.8)
    assert ingested(store, log) == 1
    assert ingested(store, log, options=("--deployment", "a", "--model", "g")) == 0
    capsys.readouterr()
    assert main(["bench", "show", "--store", store, "--json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["model_groups"]
    assert [one["standing"] for one in group["scores"]] == ["nothing_to_compare"]


def test_nothing_to_show(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A message and a status."""
    assert main(["bench", "show", "--store", store]) == 1
    assert "no benchmark runs on record" in capsys.readouterr().err


def test_a_record_that_cannot_be_judged_stops_no_recompute(store: str) -> None:
    """Tiers are computed without benchmarks then, and the fault is counted."""
    broken: Any = {"0": ["no number", 1]}
    run = BenchmarkRecord(
        time.time(), "g", "a", "x", 0.5, 40, "r", "h", "c", broken, None, 40, 0, 0, None, paired=True, refused=""
    )
    with connect(location_of_url(store), writing=True) as connection, connection.begin():
        insert_all(connection, [run])
    assert set(asyncio.run(_judged(store)).values()) == {Tier.VERIFIED_GOOD}


def test_a_log_read_under_a_wrong_name_first(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The refusal stays on record, once, and the log counts under the right name."""
    (log, *_) = logs(tmp_path, a=0.8)
    assert [ingested(store, log, options=("--deployment", "b")) for _ in range(2)] == [1, 1]
    assert ingested(store, log) == 0
    capsys.readouterr()
    main(["bench", "show", "--store", store, "--json"])
    (group,) = json.loads(capsys.readouterr().out)["model_groups"]
    assert [one["deployment"] for one in group["scores"]] == ["a"]
    assert [one["deployment"] for one in group["refused"]] == ["b"]


def test_a_file_that_is_not_there(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, with the name once."""
    assert ingested(store, tmp_path / "none.json") == 1
    assert capsys.readouterr().out == "none.json: refused: cannot be read: No such file or directory\n"
