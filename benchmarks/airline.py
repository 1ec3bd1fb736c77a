"""tau2's airline benchmark through ``exacto bench run`` and OpenBench, on simulated providers, without internet.

Each deployment makes the golden actions of a task, one call after the other; at a given rate it makes another call
instead: it gives away a certificate. The expected score is the mean over the tasks of (1 - rate) to the power of
their actions. The first deployment is broken off by its budget once, and goes on.

    python -m benchmarks.airline --environment ENV --data DATA [--runs 4]

ENV: with OpenBench and tau2; DATA: the directory data of tau2-bench-verified, or the wheel of inspect_evals.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import yaml

from exacto_plugin.bench.running.airline_data import TASKS, airline_data
from exacto_plugin.bench.running.specifications import SPECIFICATIONS
from exacto_plugin.bench.simulated_models import SimulatedModels, completion, text_of
from exacto_plugin.cli.command import main as exacto

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FAULTS = {"faultless": 0.0, "tenth": 0.1, "third": 0.3}
USER = "user"
_FAULT = ("send_certificate", {"user_id": "noah_muller_9847", "amount": 100})
_BROKEN_OFF_USD = 0.01


class AirlineModels(SimulatedModels):
    """Deployments that make golden actions, and one that speaks as the user.

    Args:
        tasks: the content of tau2's ``tasks.json``.
        seed: of the draws.
    """

    def __init__(self, tasks: Sequence[Mapping[str, Any]], seed: int) -> None:
        super().__init__()
        self._tasks = {str(task["id"]): task for task in tasks}
        self._told = {name: _squeezed(task["user_scenario"]["instructions"]) for name, task in self._tasks.items()}
        self._seed = seed

    def answer(self, provider: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the next word of the user, or the next call of a deployment."""
        number, messages = self.counted(provider), body["messages"]
        if provider == USER:
            asked = any("TASK-" in text_of(one) for one in messages if one["role"] == "assistant")
            return completion(body, "###STOP###" if asked else f"Please do TASK-{self._task(messages)}.", None)
        named = next((found for one in messages if (found := re.search(r"TASK-(\w+)", text_of(one)))), None)
        if named is None:
            return completion(body, "How can I help?", None)
        criteria = self._tasks[named.group(1)]["evaluation_criteria"]
        actions, made = actions_of(criteria), sum(len(one.get("tool_calls") or ()) for one in messages)
        if made == len(actions):
            return completion(body, " ".join(["Done.", *map(str, criteria.get("communicate_info") or ())]), None)
        faulty = Random(f"{self._seed} {provider} {number}").random() < FAULTS[provider]
        return completion(body, None, _FAULT if faulty else (actions[made]["name"], actions[made]["arguments"]))

    def _task(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Return the name of the task whose instructions are in the system prompt."""
        prompt = _squeezed("".join(text_of(one) for one in messages if one["role"] == "system"))
        return max(self._told, key=lambda name: sum(len(part) for part in self._told[name] if part in prompt[0]))


def actions_of(criteria: Mapping[str, Any]) -> list[Any]:
    """Return the golden actions of a task that the deployment makes."""
    return [one for one in criteria["actions"] or () if one.get("requestor", "assistant") == "assistant"]


def _squeezed(told: str | Mapping[str, Any]) -> list[str]:
    """Return texts without spaces, since tau2 indents them in its prompt."""
    parts = [told] if isinstance(told, str) else [part for part in told.values() if isinstance(part, str)]
    return ["".join(part.split()) for part in parts]


def _config(models: AirlineModels) -> dict[str, Any]:
    entries = [
        {
            "model_name": "users" if name == USER else "airline-model",
            "litellm_params": {
                "model": "openai/airline",
                "api_base": models.api_base(name),
                "api_key": "simulated",
                "input_cost_per_token": 1e-7,
                "output_cost_per_token": 1e-6,
            },
            "model_info": {"id": name, "provider": name},
        }
        for name in (*FAULTS, USER)
    ]
    return {"model_list": entries}


def _told(arguments: Sequence[str]) -> tuple[int, Any]:
    """Return the status of ``exacto`` and the JSON that it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = exacto([*arguments, "--json"])
    return status, json.loads(out.getvalue())


def measured(options: argparse.Namespace, root: Path) -> int:
    """Run the benchmark and print its table; 1 when a score or the ranking is wrong."""
    out, began = sys.stdout.write, time.monotonic()
    data, digest = airline_data(options.data, root)
    tasks = json.loads((data / "tau2/domains/airline/tasks.json").read_text(encoding="utf-8"))
    out(f"{len(tasks)} tasks of {TASKS[digest]}, {options.runs} answers to each, through OpenBench\n\n")
    with AirlineModels(tasks, options.seed) as models:
        config, store = root / "config.yaml", f"sqlite:///{root}/exacto.db"
        config.write_text(yaml.safe_dump(_config(models)))
        run = [
            *("bench", "run", "airline", "--config", str(config), "--store", store, "--yes", "--user-model", USER),
            *("--directory", str(root), "--environment", str(options.environment), "--data", str(options.data)),
        ]
        first = [*run, "--deployment", next(iter(FAULTS)), "--max-usd"]
        _, cut = _told([*first, str(_BROKEN_OFF_USD)])
        before = models.requests[USER]
        runs = _told([*first, "100"])[1]["runs"]
        again = models.requests[USER] - before
        rest = [part for name in list(FAULTS)[1:] for part in ("--deployment", name)]
        runs += _told([*run, *rest, "--max-usd", "100"])[1]["runs"]
        _, shown = _told(["bench", "show", "--store", store])
    scores = {one["deployment"]: one for group in shown["model_groups"] for one in group["scores"]}
    _table(tasks, scores)
    end = cut["runs"][0]
    out(f"\nbroken off by a budget of {_BROKEN_OFF_USD} USD: {end['end']}, {end['usd']:.4f} USD spent, no score; then ")
    out(f"{again} of {before + again} requests to the user\n")
    out(f"ends: {', '.join(one['end'] for one in runs)}; {(time.monotonic() - began) / 60:.1f} minutes\n")
    found = [scores[name]["score"] for name in FAULTS if name in scores]
    return int(len(found) < len(FAULTS) or found[0] < 0.9 or found != sorted(set(found), reverse=True))


def _table(tasks: Sequence[Mapping[str, Any]], scores: Mapping[str, Any]) -> None:
    out = sys.stdout.write
    out(f"{'deployment':12}{'faults':>8}{'expected':>10}{'score':>14}   verdict\n")
    for name, rate in FAULTS.items():
        expected = sum((1 - rate) ** len(actions_of(task["evaluation_criteria"])) for task in tasks) / len(tasks)
        one = scores.get(name)
        score = f"{100 * one['score']:8.1f} ± {100 * one['error']:.1f}" if one else "-"
        out(f"{name:12}{rate:>8.0%}{100 * expected:>10.1f}{score:>14}   {one['standing'] if one else 'none'}\n")


def main() -> int:
    """Print the table; 1 when the faultless deployment is below 90 % or the ranking is another one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.airline", description=__doc__)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=SPECIFICATIONS["airline"].runs)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    spec = replace(SPECIFICATIONS["airline"], runs=options.runs)  # fewer than a verdict needs are for trying it out
    with (
        tempfile.TemporaryDirectory(prefix="exacto-airline-") as folder,
        patch.dict(SPECIFICATIONS, {"airline": spec}),
    ):
        return measured(options, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
