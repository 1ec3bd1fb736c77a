"""Logs of benchmark programs for tests, with scores drawn from a seed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from random import Random
from typing import Any

REAL = Path(__file__).parents[1] / "data" / "bench" / "inspect_0.3.285.json"
"""A log that Inspect 0.3.285 wrote, without texts: 40 tasks, 2 epochs, all correct."""


def inspect_log(deployment: str, rate: float, *, seed: int = 0, tasks: int = 40, **changes: Any) -> dict[str, Any]:
    """A log of Inspect in which a share of the answers is right; tasks differ in difficulty."""
    log: dict[str, Any] = json.loads(REAL.read_text())
    draw, hard = Random(f"{deployment} {seed}"), Random(9)
    log["eval"]["metadata"] = {"exacto_deployment": deployment}
    log["eval"]["model"] = f"openai-api/litellm/{deployment}"
    log["stats"]["model_usage"] = {f"openai-api/litellm/{deployment}": {"input_tokens": 400, "output_tokens": 160}}
    offsets = [0.2 * hard.random() - 0.1 for _ in range(tasks)]
    log["samples"] = [
        {
            "id": f"t{task}",
            "epoch": epoch,
            "scores": {"match": {"value": "C" if draw.random() < rate + offsets[task] else "I"}},
            "output": {"model": deployment},
        }
        for task in range(tasks)
        for epoch in (1, 2)
    ]
    log["results"]["total_samples"] = 2 * tasks
    return {**log, **changes}


def written(folder: Path, name: str, log: dict[str, Any]) -> Path:
    """The log as a file."""
    path = folder / name
    path.write_text(json.dumps(log))
    return path


def archive(folder: Path, log: dict[str, Any]) -> Path:
    """The same log as an ``.eval`` archive as inspect_ai 0.3.125 writes it."""
    path = folder / "run.eval"
    header = {name: value for name, value in log.items() if name != "samples"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("header.json", json.dumps(header))
        made.writestr("summaries.json", json.dumps(log["samples"]))
    return path
