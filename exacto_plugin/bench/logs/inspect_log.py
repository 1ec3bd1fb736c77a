"""Logs of Inspect and OpenBench: JSON, and ``.eval`` archives.

Archives are ZIP files. Those of inspect_ai 0.3.125 (OpenBench 0.5.3) are compressed with deflate, which Python reads;
newer ones with Zstandard, which Python reads from 3.14 on: for these the program ``inspect`` itself is asked.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any

from exacto_plugin.bench.logs.fields import LogError, at, count, digest, items, moment, number
from exacto_plugin.bench.runs import BenchmarkRun, by_task, known_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DEPLOYMENT = "exacto_deployment"
"""Name in the metadata of a log for the deployment that was asked."""

_DUMP_S = 300.0
"""Seconds that ``inspect log dump`` may take."""


def is_log(plain: Any) -> bool:
    """Return True for the content of a log of Inspect."""
    return isinstance(at(plain, "eval", "task"), str) and isinstance(at(plain, "status"), str)


def read_archive(path: Path, inspect: str | None) -> list[BenchmarkRun]:
    """Read an ``.eval`` archive.

    Raises:
        LogError: it is damaged, no log, or compressed with Zstandard and ``inspect`` is missing or fails.
    """
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read("header.json"))
            header["samples"] = json.loads(archive.read("summaries.json"))
    except NotImplementedError:
        return [read_plain(_dumped(path, inspect), data)]
    except (KeyError, ValueError, zipfile.BadZipFile):
        raise LogError("it is a ZIP archive without a finished log of Inspect in it") from None
    if not is_log(header):
        raise LogError("it is a ZIP archive without a log of Inspect in it")
    return [read_plain(header, data)]


def _dumped(path: Path, inspect: str | None) -> Any:
    if inspect is None:
        raise LogError(
            "it is compressed with Zstandard: name the program that can read it with --inspect "
            "ENVIRONMENT/bin/inspect, or run the benchmark with --log-format json"
        )
    try:
        done = subprocess.run([inspect, "log", "dump", str(path)], capture_output=True, timeout=_DUMP_S, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise LogError(f"{inspect} log dump: {type(error).__name__}") from None
    raise LogError(f"{inspect} log dump ended with status {done.returncode}")


def read_plain(log: Mapping[str, Any], data: bytes) -> BenchmarkRun:
    """Read the content of a log.

    Raises:
        LogError: it has no samples.
    """
    samples = [one for one in items(log.get("samples")) if isinstance(one, dict)]
    planned = count(at(log, "results", "total_samples")) or len(samples)
    if not planned:
        raise LogError("it has no samples: the run ended before the first answer")
    model = str(at(log, "eval", "model") or "")
    usage = at(log, "stats", "model_usage", model)
    return BenchmarkRun(
        benchmark=known_name(str(log["eval"]["task"])),
        harness=_harness(log),
        deployment=str(at(log, "eval", "metadata", DEPLOYMENT) or model.rsplit("/", 1)[-1]),
        configuration=_configuration(log),
        tasks=by_task(_answers(samples)),
        planned=planned,
        errors=sum(bool(one.get("error")) for one in samples),
        started=moment(at(log, "stats", "started_at") or at(log, "eval", "created")),
        finished=moment(at(log, "stats", "completed_at") or at(log, "eval", "created")),
        log_digest=digest(data),
        complete=log["status"] == "success",
        input_tokens=count(at(usage, "input_tokens")),
        output_tokens=None if usage is None else count(at(usage, "output_tokens")),
        answered_by=frozenset(_answered_by(log, samples)),
    )


def _harness(log: Mapping[str, Any]) -> str:
    packages = at(log, "eval", "packages")
    named = packages if isinstance(packages, dict) else {}
    return " ".join(f"{name} {version}" for name, version in sorted(named.items())) or "inspect"


def _configuration(log: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that must be equal for two runs to be compared."""
    roles = at(log, "eval", "model_roles")
    plan = at(log, "plan", "config")
    generation = plan if isinstance(plan, dict) else {}
    dataset = at(log, "eval", "dataset")
    return {
        "task": at(log, "eval", "task"),
        "version": at(log, "eval", "task_version"),
        "arguments": at(log, "eval", "task_args"),
        "harness": _harness(log),
        "dataset": [at(dataset, "location"), at(dataset, "samples")],
        "generation": {name: generation.get(name) for name in ("temperature", "top_p", "max_tokens", "seed")},
        "roles": {name: at(role, "model") for name, role in roles.items()} if isinstance(roles, dict) else {},
        "limits": [at(log, "eval", "config", name) for name in ("message_limit", "token_limit")],
    }


def _answers(samples: Iterable[Mapping[str, Any]]) -> Iterable[tuple[object, float]]:
    for sample in samples:
        scores = sample.get("scores")
        if sample.get("error") or not isinstance(scores, dict):
            continue
        for score in scores.values():  # the first scorer's: it is the one that Inspect reports first
            found = number(at(score, "value"))
            if found is not None:
                yield sample.get("id"), min(1.0, max(0.0, found))
            break


def _answered_by(log: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Return the names of the models that answered.

    With one model name for each deployment, their ids.
    """
    asked = str(at(log, "eval", "model") or "").rsplit("/", 1)[-1]
    if at(log, "eval", "metadata", DEPLOYMENT) != asked:
        return
    for sample in samples:
        answered = at(sample, "output", "model")
        if isinstance(answered, str) and answered:
            yield answered
