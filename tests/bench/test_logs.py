"""Logs of other programs are read as they are written, and anything else is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exacto_plugin.bench.logs.fields import LogError
from exacto_plugin.bench.logs.reading import read_runs
from tests.bench.logs import REAL, archive, inspect_log, written

K2VV = Path(__file__).parents[2] / "exacto_plugin" / "data" / "k2vv" / "kimi-k2-0905_2025-11-15.json"


def test_a_log_that_inspect_wrote() -> None:
    """Every number of it: tasks, answers, tokens and times."""
    (run,) = read_runs(REAL)
    assert (run.benchmark, run.harness, run.deployment) == ("parcel_desk", "inspect_ai 0.3.285", "good")
    assert (len(run.tasks), run.planned, run.errors, run.score, run.complete) == (40, 80, 0, 1.0, True)
    assert (run.input_tokens, run.output_tokens) == (400, 160)
    assert run.finished - run.started == 14.0
    assert run.answered_by == {"good"}


def test_json_and_archive_say_the_same(tmp_path: Path) -> None:
    """The form of the file changes nothing but its digest."""
    log = inspect_log("a", 0.7)
    (plain,), (packed,) = read_runs(written(tmp_path, "run.json", log)), read_runs(archive(tmp_path, log))
    assert plain.tasks == packed.tasks
    assert plain.configuration_hash == packed.configuration_hash
    assert plain.log_digest != packed.log_digest
    assert 0.5 < plain.score < 0.9


def test_errors_have_no_score(tmp_path: Path) -> None:
    """An answer that ended in an error is neither right nor wrong."""
    log = inspect_log("a", 1.0)
    for sample in log["samples"][:6]:
        sample.update(error={"message": "503"}, scores=None)
    (run,) = read_runs(written(tmp_path, "run.json", log))
    assert (run.errors, len(run.tasks), sum(one.answers for one in run.tasks.values())) == (6, 37, 74)


def test_another_configuration_is_another_series(tmp_path: Path) -> None:
    """Temperature, versions, arguments and the simulated user are part of it; the deployment is not."""
    hashes = set()
    for name, change in enumerate(({}, {"plan": {"config": {"temperature": 0.5}}})):
        hashes |= {
            read_runs(written(tmp_path, f"{name}.json", {**inspect_log("a", 0.7), **change}))[0].configuration_hash
        }
    assert len(hashes) == 2
    (other,) = read_runs(written(tmp_path, "b.json", inspect_log("b", 0.7)))
    assert other.configuration_hash in hashes


def test_a_table_of_the_k2_vendor_verifier() -> None:
    """One run for each provider; answers without names are not paired."""
    runs = {run.deployment: run for run in read_runs(K2VV)}
    assert runs["vLLM"].score == pytest.approx(1007 / 1325)
    assert runs["MoonshotAI"].score == 1.0
    assert not any(run.paired for run in runs.values())
    assert len({run.configuration_hash for run in runs.values()}) == 1


def test_results_of_the_k2_vendor_verifier(tmp_path: Path) -> None:
    """Answers without a tool call have no score, failed requests are errors."""
    rows = [
        {
            "hash": f"h{number}",
            "status": "failed" if number == 9 else "success",
            "finish_reason": "stop" if number < 4 else "tool_calls",
            "tool_calls_valid": number != 5,
            "last_run_at": "2026-11-01T00:00:00",
            "request": {"model": "kimi"},
        }
        for number in range(10)
    ]
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (run,) = read_runs(path)
    assert (run.deployment, run.planned, run.errors, len(run.tasks), run.score) == ("kimi", 10, 1, 5, 0.8)


def test_a_summary_of_the_minimax_verifier(tmp_path: Path) -> None:
    """As published: 84 of 84 tool-calling answers fit."""
    summary = {
        "model": "m", "success_count": 102, "failure_count": 0, "all_count": 102, "tool_calls_finish_tool_calls": 84,
        "tool_calls_schema_validation_error_count": 0, "tool_calls_successful_count": 84,
    }  # fmt: skip
    (run,) = read_runs(written(tmp_path, "minimax-official_summary.json", summary))
    assert (run.deployment, run.score, len(run.tasks), run.planned) == ("minimax-official", 1.0, 84, 102)


def test_a_journal_of_the_deepseek_verifier(tmp_path: Path) -> None:
    """One run for each endpoint; the later result of a case counts, errors do not."""

    def result(endpoint: str, case: str, status: str) -> dict[str, object]:
        return {"kind": "result", "result": {"endpoint": endpoint, "case_id": case, "status": status}}

    records = [{"kind": "manifest", "manifest_hash": "f" * 64}, result("a", "c1", "FAIL"), result("a", "c1", "PASS")]
    records += [result("a", "c2", "ERROR"), result("a", "c3", "SKIP"), result("b", "c1", "FAIL")]
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(json.dumps({"record": one, "previous_hash": "", "record_hash": ""}) for one in records))
    runs = {run.deployment: run for run in read_runs(path)}
    assert (runs["a"].score, runs["a"].errors, runs["a"].planned) == (1.0, 1, 2)
    assert runs["b"].score == 0.0


def test_a_result_file_of_tau2_bench(tmp_path: Path) -> None:
    """Rewards by task over trials; simulations that broke are errors."""
    simulations = [
        {
            "task_id": str(task), "trial": trial, "termination_reason": "user_stop" if task else "agent_error",
            "reward_info": {"reward": float(task % 2)}, "start_time": "2026-11-01T00:00:00",
            "end_time": "2026-11-01T00:10:00",
        }
        for task in range(4)
        for trial in range(2)
    ]  # fmt: skip
    info = {
        "git_commit": "abc", "num_trials": 2, "environment_info": {"domain_name": "airline"},
        "agent_info": {"llm": "openai/a"}, "user_info": {"llm": "u"},
    }  # fmt: skip
    plain = {"info": info, "tasks": [{}] * 4, "simulations": simulations}
    (run,) = read_runs(written(tmp_path, "r.json", plain))
    assert (run.benchmark, run.deployment, run.planned, run.errors) == ("tau2_airline", "a", 8, 2)
    assert run.score == pytest.approx(2 / 3)


def test_a_table_of_our_own(tmp_path: Path) -> None:
    """One run for each benchmark, deployment and config."""
    path = tmp_path / "runs.csv"
    path.write_text("benchmark,deployment,task,score,config\nX,a,1,1,c\nX,a,2,0.5,c\nX,a,3,,c\nX,b,1,1,c\n")
    runs = {run.deployment: run for run in read_runs(path)}
    assert (runs["a"].benchmark, runs["a"].score, runs["a"].errors, runs["a"].planned) == ("x", 0.75, 1, 3)
    assert runs["a"].configuration_hash == runs["b"].configuration_hash


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.json", "no", "neither JSON"),
        ("a.json", "{}", "not known"),
        ("a.json", "[1, 2]", "no results that are known"),
        ("a.csv", "benchmark,task\n", "lacks the columns: deployment, score"),
        ("a.csv", "benchmark,deployment,task,score\nx,a,1,7\n", "line 2: score '7'"),
        ("a.csv", "benchmark,deployment,task,score\n", "no lines"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, name: str, text: str, reason: str) -> None:
    """The message says what is missing."""
    (tmp_path / name).write_text(text)
    with pytest.raises(LogError, match=reason):
        read_runs(tmp_path / name)


def test_an_archive_that_python_cannot_read(tmp_path: Path) -> None:
    """Zstandard, method 93: the remedy names both ways out."""
    path = archive(tmp_path, inspect_log("a", 0.5))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = -1
        while (place := data.find(signature, place + 1)) >= 0:
            data[place + offset : place + offset + 2] = (93).to_bytes(2, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(LogError, match="--inspect"):
        read_runs(path)
    with pytest.raises(LogError, match="FileNotFoundError"):
        read_runs(path, str(tmp_path / "missing"))
