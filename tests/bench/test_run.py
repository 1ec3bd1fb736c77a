"""``exacto bench plan`` and ``run``: no false score, a budget that holds, and runs that go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml

from exacto_plugin.bench.isolated.configuration import isolated_models
from exacto_plugin.bench.isolated.proxy import IsolatedProxy, isolated_proxy
from exacto_plugin.bench.parcels.simulated import SimulatedParcelModels, Skill
from exacto_plugin.bench.running.plan import Choice, planned
from exacto_plugin.bench.running.run import RunContext, RunEnd, RunResult, run_benchmark
from exacto_plugin.bench.running.shared import BenchmarkState
from exacto_plugin.bench.running.specifications import SPECIFICATIONS, Invocation, command_of
from exacto_plugin.benchmark_scores.source import runs_since
from exacto_plugin.benchmark_scores.standings import Standing, scores_of
from exacto_plugin.cli.command import main
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading
from tests.bench.harness import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exacto_plugin.records import BenchmarkRecord

PARCELS = SPECIFICATIONS["parcels"]
NAMES = ("good", "weak", "dead", "killed", "poor", "shared")


@pytest.fixture(scope="module")
def models() -> Iterator[SimulatedParcelModels]:
    """Providers of different skill."""
    with SimulatedParcelModels({"weak": Skill(wrong=0.5)}) as running:
        yield running


@pytest.fixture(scope="module")
def config(models: SimulatedParcelModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration in which each answer costs something."""
    entries = [
        {
            "model_name": "g",
            "litellm_params": {
                "model": "openai/m",
                "api_base": models.api_base(name),
                "api_key": "k",
                "input_cost_per_token": 1e-4,
                "output_cost_per_token": 1e-4,
            },
            "model_info": {"id": name, "provider": name},
        }
        for name in NAMES
    ]
    file = tmp_path_factory.mktemp("run") / "config.yaml"
    file.write_text(yaml.safe_dump({"model_list": entries}))
    return file


@pytest.fixture(scope="module")
def proxy(config: Path) -> Iterator[IsolatedProxy]:
    """One isolated proxy for all runs."""
    with isolated_proxy(config) as running:
        yield running


class Bench:
    """Runs against one store and one directory."""

    def __init__(self, proxy: IsolatedProxy, folder: Path) -> None:
        self.proxy, self.folder = proxy, folder
        self.location = location_of_url(f"sqlite:///{folder}/exacto.db")
        self.program = environment(folder / "environment") / "bin" / "inspect"

    def run(
        self,
        name: str,
        *,
        max_usd: float | None = None,
        monthly_usd: float | None = None,
        shared: BenchmarkState | None = None,
    ) -> RunResult:
        """Run the parcel service against one deployment."""
        (run,) = planned(self.proxy.models, [PARCELS], Choice([name]))
        limit = None if max_usd is None else self.proxy.spent_usd() + max_usd
        state = shared or BenchmarkState(self.location)
        context = RunContext(self.proxy, self.location, state, self.folder, limit, lambda _: None, monthly_usd)
        return run_benchmark(context, PARCELS, run, self.program, Invocation(name, 4))

    def records(self) -> list[BenchmarkRecord]:
        """All records, in order of time."""
        with reading(self.location) as connection:
            return [one for runs in runs_since(connection, 0).values() for one in runs]

    def scored(self) -> list[str]:
        """The deployments with a score."""
        return [one.deployment for one in self.records() if not one.refused]


@pytest.fixture
def bench(proxy: IsolatedProxy, tmp_path: Path) -> Bench:
    """Everything fresh but the proxy."""
    return Bench(proxy, tmp_path)


def test_runs_become_scores_and_verdicts(bench: Bench) -> None:
    """Each deployment is asked 48 times by its own name."""
    good, weak = bench.run("good"), bench.run("weak")
    assert [one.end for one in (good, weak)] == [RunEnd.SCORED] * 2
    assert good.records[0].score == 1.0
    assert good.records[0].answers == 48
    assert 0.3 < weak.records[0].score < 0.7
    assert good.usd > 0
    standings = {one.deployment: one.standing for one in scores_of(bench.records(), time.time())}
    assert standings == {"good": Standing.ABOVE, "weak": Standing.BELOW}


def test_a_dead_deployment_gets_no_score_and_is_asked_again(bench: Bench, models: SimulatedParcelModels) -> None:
    """It dies in the middle of a run; what it had answered before is not asked again."""
    models.skills["dead"] = Skill(down=1.0, after=models.requests["dead"] + 30)
    result = bench.run("dead")
    assert (result.end, bench.scored()) == (RunEnd.REFUSED, [])
    count, _, rest = result.reason.partition(": ")[2].partition(" ")  # Inspect ends those on their way too
    assert 5 <= int(count) < 10
    assert rest == "answers ended in an error"
    models.skills["dead"] = Skill()
    asked = models.requests["dead"]
    assert bench.run("dead").end is RunEnd.SCORED
    assert models.requests["dead"] - asked < 148 - 25
    assert bench.scored() == ["dead"]
    assert bench.records()[-1].score == 1.0


def test_the_budget_stops_a_run_and_more_lets_it_go_on(bench: Bench, models: SimulatedParcelModels) -> None:
    """What is spent exceeds it by less than the cost of one of the conversations."""
    models.skills["poor"] = Skill(latency_s=0.02)
    result = bench.run("poor", max_usd=0.1)
    assert (result.end, result.records) == (RunEnd.BUDGET, ())
    assert 0.1 <= result.usd < 0.1 + 1e-4 * 4 * 600
    asked = models.requests["poor"]
    models.skills["poor"] = Skill()
    assert bench.run("poor", max_usd=10.0).end is RunEnd.SCORED
    assert models.requests["poor"] - asked < 148
    assert bench.scored() == ["poor"]


KILLED = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from exacto_plugin.bench.isolated.costs import spent_in
from exacto_plugin.bench.running.plan import PlannedRun
from exacto_plugin.bench.running.run import RunContext, run_benchmark
from exacto_plugin.bench.running.shared import BenchmarkState
from exacto_plugin.bench.running.specifications import SPECIFICATIONS, Invocation
from exacto_plugin.store.location import location_of_url

base, key, costs, folder = sys.argv[1:]
proxy = SimpleNamespace(base_url=base, key=key, costs=Path(costs), spent_usd=lambda: spent_in(Path(costs)))
location = location_of_url(f"sqlite:///{folder}/exacto.db")
context = RunContext(proxy, location, BenchmarkState(location), Path(folder), None, print)
run = PlannedRun("parcels", "killed", ("g",), "killed", 48, 0, 0, 1.0, True)
program = Path(folder) / "environment" / "bin" / "inspect"
run_benchmark(context, SPECIFICATIONS["parcels"], run, program, Invocation("killed", 4))
"""


def test_kill_9_leaves_no_process_and_no_score(bench: Bench, models: SimulatedParcelModels) -> None:
    """The program ends with its starter; the next run waits for the lease to end, and goes on."""
    models.skills["killed"] = Skill(latency_s=0.05)
    given = [bench.proxy.base_url, bench.proxy.key, str(bench.proxy.costs), str(bench.folder)]
    with subprocess.Popen([sys.executable, "-c", KILLED, *given], cwd=Path(__file__).parents[2]) as starter:
        _await(lambda: models.requests["killed"] > 20)
        below = psutil.Process(starter.pid).children(recursive=True)
        starter.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert alive == []
    assert bench.run("killed").end is RunEnd.ELSEWHERE  # its lease holds for two minutes
    models.skills["killed"] = Skill()
    later = BenchmarkState(bench.location)
    _end_leases(bench)
    asked = models.requests["killed"]
    assert bench.run("killed", shared=later).end is RunEnd.SCORED
    assert models.requests["killed"] - asked < 148 - 10
    assert bench.scored() == ["killed"]


def _await(true: Any) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def _end_leases(bench: Bench) -> None:
    from sqlalchemy import update

    from exacto_plugin.store.database import connect
    from exacto_plugin.store.tables import documents

    with connect(bench.location, writing=True) as connection, connection.begin():
        leases = documents.c.name.like("bench/lease/%")
        connection.execute(update(documents).where(leases).values(payload=json.dumps(["gone", time.time() - 1])))


def test_a_lease_keeps_others_away(bench: Bench, models: SimulatedParcelModels) -> None:
    """While one holds it nothing is asked; each benchmark has a lease of its own."""
    other = BenchmarkState(bench.location)
    assert other.lease("shared", "parcels")
    assert other.lease("shared", "parcels")
    assert BenchmarkState(bench.location).lease("shared", "gpqa")
    asked = models.requests["shared"]
    assert bench.run("shared").end is RunEnd.ELSEWHERE
    assert models.requests["shared"] == asked
    BenchmarkState(bench.location).release("shared", "parcels")  # of another: it stays
    assert not BenchmarkState(bench.location).lease("shared", "parcels")
    other.release("shared", "parcels")
    assert BenchmarkState(bench.location).lease("shared", "parcels")


def test_the_month_is_shared(bench: Bench) -> None:
    """Costs of several processes add up, those of crashed ones too."""
    from exacto_plugin.bench.running.spending import add_leftovers, counting

    one, two = BenchmarkState(bench.location), BenchmarkState(bench.location)
    one.spend(0.5)
    two.spend(0.25)
    assert one.spent() == two.spent() == pytest.approx(0.75)
    crashed = bench.folder / "costs-1.jsonl"
    crashed.write_text('{"usd": 1.0}\n{"usd": 0.5}\n')
    crashed.with_suffix(".added").write_text("1.0")
    add_leftovers(bench.folder, one)
    add_leftovers(bench.folder, one)
    assert two.spent() == pytest.approx(1.25)
    costs = bench.folder / "costs-2.jsonl"
    with counting(costs, one):
        costs.write_text('{"usd": 2.0}\n')
    assert two.spent() == pytest.approx(3.25)
    assert list(bench.folder.glob("costs-*")) == []


def test_another_machine_spends_the_month(bench: Bench, models: SimulatedParcelModels) -> None:
    """The run stops within seconds, without a score."""
    models.skills["shared"] = Skill(latency_s=0.2)
    BenchmarkState(bench.location).spend(3.0)
    asked = models.requests["shared"]
    result = bench.run("shared", max_usd=100.0, monthly_usd=3.0)
    assert (result.end, result.records) == (RunEnd.BUDGET, ())
    assert models.requests["shared"] - asked < 148
    models.skills["shared"] = Skill()
    assert bench.run("shared", max_usd=100.0, monthly_usd=1000.0).end is RunEnd.SCORED


def test_a_program_that_writes_nothing(bench: Bench) -> None:
    """It is told where its output is, and nothing is recorded."""
    bench.program.write_text("#!/bin/sh\necho broken; exit 1\n")
    result = bench.run("good")
    assert result.end is RunEnd.FAILED
    assert "output.txt" in result.reason
    assert next(bench.folder.glob("parcels-*/output.txt")).read_text() == "broken\n"


def test_a_program_that_cannot_go_on(bench: Bench) -> None:
    """The log that it left is put aside, and the next run starts anew."""
    works = bench.program.read_text()
    bench.program.write_text("#!/bin/sh\nexit 1\n")
    assert bench.run("good").end is RunEnd.FAILED
    (logs,) = bench.folder.glob("parcels-*/logs")
    (logs / "1_parcels.json").write_text("cut off")
    result = bench.run("good")
    assert result.end is RunEnd.FAILED
    assert "starts anew" in result.reason
    bench.program.write_text(works)
    assert bench.run("good").end is RunEnd.SCORED
    assert bench.scored() == ["good"]


def test_a_plan_spends_nothing(config: Path, models: SimulatedParcelModels, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers, tokens and dollars of each run; a second model is counted too."""
    before = models.requests.total()
    arguments = ["bench", "plan", "parcels", "airline", "--config", str(config), "--user-model", "good", "--baseline"]
    assert main([*arguments, "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    parcels = [one for one in runs if one["benchmark"] == "parcels"]
    assert [one["model"] for one in parcels] == [*NAMES, "baseline/g"]
    assert parcels[0]["usd"] == pytest.approx((48 * 5000 + 48 * 300) * 1e-4)
    airline = {one["model"]: one for one in runs if one["benchmark"] == "airline"}
    assert airline["good"]["skipped"] == "it speaks as the user"
    assert airline["weak"]["usd"] == pytest.approx((200 * 100_000 * 1.1 + 200 * 2_000 * 2) * 1e-4)
    assert main(arguments) == 0
    assert "needed for a verdict: parcels: 4 answers to each of 12 tasks" in capsys.readouterr().out
    assert models.requests.total() == before


REFUSED = {
    "agreement": ((), "add --yes and a limit"),
    "limit": (("--yes",), "add --yes and a limit"),
    "few": (("--runs", "2"), "a verdict needs 4 answers to each task"),
    "unknown": (("--deployment", "zz"), "no deployment 'zz'"),
    "group": (("--model", "zz"), "no model group 'zz'"),
    "environment": (("--yes", "--max-usd", "1", "--environment", "/nowhere"), "has no program 'inspect'"),
}


@pytest.mark.parametrize(("options", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_before_anything_is_spent(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], reason: str
) -> None:
    """With the remedy, and status 2."""
    store = f"sqlite:///{tmp_path}/e.db"
    assert main(["bench", "run", "parcels", "--config", str(config), "--store", store, *options]) == 2
    assert reason in capsys.readouterr().err


def test_a_spent_month_is_refused(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a proxy is started, by the command line as by the settings."""
    BenchmarkState(location_of_url(f"sqlite:///{tmp_path}/e.db")).spend(3.0)
    environment(tmp_path / "environment")
    options = ["--yes", "--max-usd", "1", "--environment", str(tmp_path / "environment")]
    store = ["--store", f"sqlite:///{tmp_path}/e.db", "--directory", str(tmp_path)]
    assert main(["bench", "run", "parcels", "--config", str(config), *store, *options, "--monthly-usd", "3"]) == 2
    assert "this month's 3.00 USD are spent" in capsys.readouterr().err
    limited = tmp_path / "limited.yaml"
    block = {"exacto_settings": {"benchmarks": {"monthly_usd": 2.5}}}
    limited.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | block))
    for benchmark in (["parcels", *store, *options], ["verifier", *store[:2], "--model", "g", "--yes"]):
        assert main(["bench", "run", *benchmark, "--config", str(limited)]) == 2
        assert "this month's 2.50 USD are spent" in capsys.readouterr().err


def test_airline_needs_an_environment_a_user_and_data(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None can be made up; of other tasks there is no score."""
    run = ["bench", "run", "airline", "--config", str(config), "--store", f"sqlite:///{tmp_path}/e.db"]
    assert main([*run, "--yes", "--max-usd", "1"]) == 2
    assert "--user-model" in capsys.readouterr().err
    assert main([*run, "--yes", "--max-usd", "1", "--user-model", "good"]) == 2
    assert "name an environment with OpenBench and tau2" in capsys.readouterr().err
    run += ["--yes", "--max-usd", "1", "--user-model", "good", "--environment", str(tmp_path)]
    assert main(run) == 2
    assert "name its data with --data" in capsys.readouterr().err
    assert main([*run, "--data", str(tmp_path)]) == 2
    assert "has not the data of the airline benchmark" in capsys.readouterr().err


def test_an_unknown_price_is_refused_unless_it_is_local() -> None:
    """No budget could be kept."""
    from exacto_plugin.bench.running.plan import check_prices, check_spending
    from exacto_plugin.errors import ExactoError

    def of(base: str) -> Any:
        params = {"model": "openai/some-model-of-our-own", "api_base": base, "api_key": "k"}
        entry = {"model_name": "g", "litellm_params": params, "model_info": {"id": "a"}}
        return planned(isolated_models({"model_list": [entry]}), [PARCELS], Choice())

    check_spending(of("http://127.0.0.1:9/v1"), agreed=False, max_usd=None)
    params = {"model": "openai/some-model-of-our-own", "api_base": "https://api.example.com/v1", "api_key": "k"}
    entry = {"model_name": "g", "litellm_params": params, "model_info": {"id": "v"}}
    with pytest.raises(ExactoError, match="the price of v is not known"):
        check_prices(isolated_models({"model_list": [entry]}).targets)
    with pytest.raises(ExactoError, match="the price of a is not known"):
        check_spending(of("https://api.example.com/v1"), agreed=True, max_usd=5.0)


def test_a_deployment_without_tools_is_left_out(config: Path) -> None:
    """Of benchmarks that need them."""
    entries: Any = yaml.safe_load(config.read_text())["model_list"][:1]
    entries[0]["model_info"]["supported_parameters"] = ["temperature"]
    runs = planned(isolated_models({"model_list": entries}), list(SPECIFICATIONS.values()), Choice())
    assert {one.benchmark: one.skipped for one in runs} == {
        "parcels": "it takes no tools", "gpqa": "", "airline": "it takes no tools",
    }  # fmt: skip


def test_commands_say_neither_address_nor_key(tmp_path: Path) -> None:
    """Another proxy, at another address, serves the rest of a run."""
    airline = replace(SPECIFICATIONS["airline"])
    first = command_of(airline, Path("bench"), Invocation("a", 4, "user"), tmp_path)
    assert first[1:3] == ["eval", "tau_bench_airline"]
    assert "user_model=openai-api/litellm/user" in first
    (tmp_path / "1.eval").touch()
    again = command_of(airline, Path("env/bin/bench"), Invocation("a", 4, "user"), tmp_path)
    assert (again[0], again[3:]) == ("env/bin/python", [str(tmp_path / "1.eval"), str(tmp_path), "4"])
    gpqa = command_of(SPECIFICATIONS["gpqa"], Path("inspect"), Invocation("a", 4), tmp_path)
    assert gpqa[gpqa.index("--temperature") + 1] == "0.5"
    assert not [one for one in (*first, *gpqa) if "127.0.0.1" in one]
