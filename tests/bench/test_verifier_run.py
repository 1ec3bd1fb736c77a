"""``exacto bench run verifier`` against simulated providers: it decides, keeps what it found, and moves a tier."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.audit.views import why
from exacto_plugin.bench.running.shared import BenchmarkState
from exacto_plugin.cli.benchmarks import verifier
from exacto_plugin.cli.command import main
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Sample, Tier
from exacto_plugin.demo.behaviour import Act, Behaviour
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading
from tests.support.runtimes import router

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def providers() -> Iterator[SimulatedProviders]:
    """Providers of the deployments a, b and c, which take any request."""
    with SimulatedProviders() as server:
        yield server


class Judge:
    """A process with three deployments of a model group, all of them good by 300 calls of traffic.

    Args:
        url: of its store.
    """

    def __init__(self, url: str) -> None:
        self._runtime = Runtime(Settings(), place=location_of_url(url))
        self._runtime.routers.add(router("g", keys="abc"))
        for key in map(DeploymentKey, "abc"):
            for _ in range(300):
                sample = Sample("g", key, time.time() - 60, tools_offered=True, outcome=Outcome.VALID)
                self._runtime.samples.record(sample, Candidate(LiteLLMId(key), key, f"provider-{key}"))
        self._runner = asyncio.Runner()
        self.tiers()

    def tiers(self) -> dict[str, Tier]:
        """Recompute, and return the tiers."""
        return self._runner.run(self._judged())

    async def _judged(self) -> dict[str, Tier]:
        await self._runtime.recomputer.recompute()
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "exacto-record"))
        assert await asyncio.to_thread(self._runtime.store.flush, 60.0)
        verdicts = self._runtime.engine.measured.groups["g"].verdicts
        return {str(key): verdict.tier for key, verdict in verdicts.items()}

    def close(self) -> None:
        """End the process."""
        self._runtime.store.close()
        self._runner.close()


@pytest.fixture
def store(tmp_path: Path, providers: SimulatedProviders) -> str:
    """A store; the providers begin anew."""
    providers.control.reset()
    return f"sqlite:///{tmp_path}/exacto.db"


@pytest.fixture
def judge(store: str) -> Iterator[Judge]:
    """A process with this store."""
    with closing(Judge(store)) as found:
        yield found


def ran(
    store: str, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, list[dict[str, Any]]]:
    """Run the verifier, and return its status and the runs that it prints."""
    base = f"{providers.base_url}/p/{{deployment}}/v1"
    command = ["bench", "run", "verifier", "--store", store, "--base-url", base, "--json", "--yes", *options]
    status = main(command)
    return status, json.loads(capsys.readouterr().out)["runs"]


def told(store: str, name: str) -> str:
    """What ``exacto why`` says."""
    with reading(location_of_url(store)) as connection:
        (view,) = why(connection, name, time.time(), past=False)
    return why_sentence(view)


def test_a_run_flags_then_clears_and_both_move_the_tier(
    judge: Judge, store: str, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deployment that fails a quarter is out at the next recompute, and back after its repair."""
    providers.control.replace("b", Behaviour(error_rate=0.25))
    status, runs = ran(store, providers, capsys, "--deployment", "b", "--reference", "a")
    assert status == 1
    assert [(one["deployment"], one["decision"]) for one in runs] == [("a", "cleared"), ("b", "flagged")]
    reference, flagged = runs
    assert (reference["calls"], reference["bad"]) == (250, 0)
    assert flagged["calls"] <= 60
    assert flagged["against"] == "a"
    assert flagged["similarity"] > 0.95
    assert judge.tiers()["b"] is Tier.DERANKED
    assert f"In the verifier's run {flagged['run']}" in told(store, "b")
    assert "`exacto bench run verifier --deployment b` decides anew" in told(store, "b")

    providers.control.replace("b", Behaviour())
    status, (cleared,) = ran(store, providers, capsys, "--deployment", "b", "--reference", "a")
    assert (status, cleared["decision"]) == (0, "cleared")
    assert cleared["calls"] <= 100
    assert judge.tiers()["b"] is Tier.VERIFIED_GOOD
    assert f"run {cleared['run']} 100.0 % of {cleared['calls']} calls were good" in told(store, "b")
    assert "which readmitted it" in told(store, "b")
    assert main(["audit", "--store", store, "--deployment", "b"]) == 0
    audit = capsys.readouterr().out
    assert flagged["run"] in audit
    assert cleared["run"] in audit
    assert main(["bench", "show", "--store", store, "--reference", "a", "--json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["model_groups"]
    assert [one["decision"] for one in group["verifier"]] == ["cleared", "cleared"]


def test_a_dead_endpoint_is_no_evidence(
    judge: Judge, store: str, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run is refused, says why, and ends early."""
    providers.control.replace("c", Behaviour(always=500))
    status, (run,) = ran(store, providers, capsys, "--deployment", "c")
    assert status == 1
    assert run["refused"] == f"no answer: {run['errors']} requests ended in an error"
    assert run["errors"] < 20
    providers.control.replace("c", Behaviour(failure_rate=0.2))
    status, (run,) = ran(store, providers, capsys, "--deployment", "c")
    assert "requests ended in an error (at most 10% may)" in run["refused"]
    assert judge.tiers()["c"] is Tier.VERIFIED_GOOD


def test_a_flag_with_nothing_to_compare_moves_no_tier(
    judge: Judge, store: str, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    """All deployments of a model may fail as often."""
    providers.control.replace("b", Behaviour(error_rate=0.25))
    _, (run,) = ran(store, providers, capsys, "--deployment", "b")
    assert (run["decision"], run["against"]) == ("undecided", "")
    assert judge.tiers()["b"] is Tier.VERIFIED_GOOD


def test_nothing_is_sent_without_yes(
    judge: Judge, store: str, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan tells what it would take."""
    command = ["bench", "run", "verifier", "--store", store, "--base-url", providers.base_url, "--deployment", "b"]
    assert main(command) == 1
    assert "at most about 325 requests each of the suite bundled" in capsys.readouterr().out
    assert providers.control.seen("b") == []


def test_requests_of_a_file_are_another_suite(
    judge: Judge, store: str, tmp_path: Path, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    """As K2-Vendor-Verifier's samples.jsonl; what is not part of a request stays behind."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    line = {"messages": [{"role": "user", "content": "x"}], "tools": [tool], "stream": True, "id": 7, "max_tokens": 99}
    file = tmp_path / "samples.jsonl"
    file.write_text("\n".join(json.dumps(line) for _ in range(30)))
    _, (run,) = ran(store, providers, capsys, "--deployment", "b", "--samples", str(file))
    assert (run["requests"], run["calls"], run["bad"], run["decision"]) == (30, 30, 0, "undecided")
    body = providers.control.seen("b")[0]["body"]
    assert body == {**{key: line[key] for key in ("messages", "tools", "max_tokens")}, "model": "b"}
    file.write_text('{"messages": []}')
    assert main(["bench", "run", "verifier", "--store", store, "--deployment", "b", "--samples", str(file)]) == 2
    assert "line 1: no request with `messages` and `tools`" in capsys.readouterr().err


def test_lost_and_leaked_calls_count_as_in_traffic(
    judge: Judge, store: str, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calls that a client cannot use, in whatever form they are lost."""
    providers.control.replace("b", Behaviour(error_rate=0.5, error_mix={Act.LEAKED_MARKUP: 1, Act.MISSING_CALL: 1}))
    _, runs = ran(store, providers, capsys, "--deployment", "b", "--reference", "a")
    assert runs[1]["decision"] == "flagged"
    assert set(runs[1]["flaws"]) >= {"leaked_markup", "missing_call"}


def test_a_pair_that_runs_elsewhere_is_left_alone(
    judge: Judge,
    store: str,
    providers: SimulatedProviders,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is asked while another process holds the lease; a run gives its own back."""
    monkeypatch.setattr(verifier, "PATIENCE_S", 0.0)
    other = BenchmarkState(location_of_url(store))
    assert other.lease("b", "verifier")
    assert ran(store, providers, capsys, "--deployment", "b") == (1, [])
    assert providers.control.seen("b") == []
    other.release("b", "verifier")
    status, (run,) = ran(store, providers, capsys, "--deployment", "b")
    assert (status, run["decision"]) == (0, "cleared")
    assert other.lease("b", "verifier")


def test_deployments_without_money_are_no_success(
    judge: Judge, store: str, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status tells that they were left out."""
    assert ran(store, providers, capsys, "--deployment", "b", "--max-usd", "0") == (1, [])
    assert providers.control.seen("b") == []
