"""A small benchmark program that stands for Inspect: it asks over HTTP, and writes logs of Inspect's form.

`make harness` runs the same tests with Inspect itself, whose path is in EXACTO_REAL_INSPECT.

Its environment has ``bin/inspect``, which takes the arguments of ``inspect eval-set`` that matter, writes its log after
every answer, and goes on with a log that did not end well.

    inspect eval-set TASK --model openai-api/litellm/NAME --log-dir DIR --epochs N
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from exacto_plugin.bench.parcels.parcel_world import ACTIONS, REQUESTS, Request, end_of, start

MOST_ERRORS = 0.1


def environment(folder: Path) -> Path:
    """Make an environment with this program in it, or with the real one."""
    program = folder / "bin" / "inspect"
    program.parent.mkdir(parents=True)
    root = Path(__file__).parents[2]
    real = os.environ.get("EXACTO_REAL_INSPECT")
    program.write_text(
        f'#!/bin/sh\nexec {real} "$@"\n'
        if real
        else f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        "from tests.bench.harness import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    return folder


def main() -> int:
    """Ask what is not asked yet; 1 when too many answers are errors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb")
    parser.add_argument("task")
    for name in ("model", "log-dir", "epochs", "temperature", "metadata"):
        parser.add_argument(f"--{name}")
    options, _ = parser.parse_known_args()
    file = Path(options.log_dir) / "2026-11-30_parcels.json"
    log = json.loads(file.read_text()) if file.exists() else _empty(options)
    if log["status"] == "success":
        return 0
    log["samples"] = [one for one in log["samples"] if not one["error"]]
    done = {(one["id"], one["epoch"]) for one in log["samples"]}
    for epoch in range(1, int(options.epochs) + 1):
        for request in REQUESTS:
            if (request.name, epoch) not in done:
                log["samples"].append(_sample(request, epoch, options.model, log))
                _write(file, log)
                if sum(bool(one["error"]) for one in log["samples"]) > MOST_ERRORS * log["planned"]:
                    return _end(file, log, "error")
    return _end(file, log, "success")


def _end(file: Path, log: dict[str, Any], status: str) -> int:
    log["status"] = status
    if status == "success":
        log["results"] = {"total_samples": log["planned"]}
    _write(file, log)
    return int(status != "success")


def _empty(options: argparse.Namespace) -> dict[str, Any]:
    key, _, value = options.metadata.partition("=")
    usage = {options.model: {"input_tokens": 0, "output_tokens": 0}}
    return {
        "status": "started",
        "eval": {
            "task": "parcels",
            "model": options.model,
            "metadata": {key: value},
            "created": "2026-11-30T00:00:00Z",
        },
        "plan": {"config": {"temperature": float(options.temperature)}},
        "stats": {"model_usage": usage},
        "planned": len(REQUESTS) * int(options.epochs),
        "samples": [],
    }


def _write(file: Path, log: dict[str, Any]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(log))
    fresh.replace(file)


def _sample(request: Request, epoch: int, model: str, log: dict[str, Any]) -> dict[str, Any]:
    world, messages = start(), [{"role": "user", "content": request.text}]
    found: dict[str, Any] = {"id": request.name, "epoch": epoch, "error": None, "scores": None}
    while True:
        try:
            answer = _ask(model.removeprefix("openai-api/litellm/"), messages)
        except urllib.error.HTTPError as error:
            return {**found, "error": {"message": str(error.code)}}
        usage = log["stats"]["model_usage"][model]
        usage["input_tokens"] += answer["usage"]["prompt_tokens"]
        usage["output_tokens"] += answer["usage"]["completion_tokens"]
        message = answer["choices"][0]["message"]
        messages.append(message)
        if not message.get("tool_calls"):
            value = float(world == end_of(request))
            return {**found, "scores": {"right_end": {"value": value}}, "output": {"model": answer["model"]}}
        for call in message["tool_calls"]:
            told = ACTIONS[call["function"]["name"]](world, **json.loads(call["function"]["arguments"]))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": str(told)})


def _ask(model: str, messages: list[dict[str, Any]]) -> Any:
    request = urllib.request.Request(
        f"{os.environ['LITELLM_BASE_URL']}/chat/completions",
        json.dumps({"model": model, "messages": messages}).encode(),
        {"Authorization": f"Bearer {os.environ['LITELLM_API_KEY']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())
