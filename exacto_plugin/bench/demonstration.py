"""``exacto demo bench``: a benchmark on simulated deployments, up to their tiers.

A proxy with the plugin serves users; the parcel service is run against its four deployments through an isolated one.
All tool calls of all of them fit their schemas, so that traffic alone tells no difference.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import yaml

from exacto_plugin.audit.answer_sentences import score_words, share_words, verdict_words
from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.bench.isolated.configuration import isolated_models
from exacto_plugin.bench.parcels.parcel_world import REQUESTS
from exacto_plugin.bench.parcels.simulated import SimulatedParcelModels, Skill
from exacto_plugin.bench.running.command import sentence_of
from exacto_plugin.bench.running.environments import default_root, has_environment, program_of
from exacto_plugin.bench.running.invocation import Invoked, run_all
from exacto_plugin.bench.running.plan import Choice, planned
from exacto_plugin.bench.running.specifications import SPECIFICATIONS, Invocation
from exacto_plugin.benchmark_scores.source import runs_since
from exacto_plugin.benchmark_scores.standings import scores_of
from exacto_plugin.config.sources import read_config
from exacto_plugin.demo.proxy import DemoProxy
from exacto_plugin.errors import ExactoError
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading
from exacto_plugin.terminal import write_text
from exacto_plugin.text_tables import PlainTable, heading, write_tables

if TYPE_CHECKING:
    from exacto_plugin.benchmark_scores.standings import Score

GROUP: Final = "parcel-model"
REFERENCE: Final = "maker"
SKILLS: Final = {
    REFERENCE: Skill(wrong=0.03),
    "equal": Skill(wrong=0.03),
    "careless": Skill(wrong=0.45),
    "revoked": Skill(),
}
REVOKED: Final = Skill(down=1.0, status=401)
"""Of ``revoked`` from the benchmark on: its key is no longer valid."""

KEY: Final = "sk-exacto-demo"
REQUESTS_EACH: Final = 150
"""Requests of users for each deployment, enough for verdicts from traffic."""
INTERVAL_S: Final = 2.0
PATIENCE_S: Final = 60.0


def run_bench_demo(environment: Path | None = None) -> int:
    """Run the demonstration.

    Returns 0 if the careless deployment was deranked for its score, and the revoked one has none.

    Args:
        environment: an existing one with Inspect; None: one of our own, created on first use.

    Raises:
        ExactoError: the environment or a proxy cannot be started.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):  # the proxy has a session of its own, and would keep running
        signal.signal(ending, signal.default_int_handler)
    spec = SPECIFICATIONS["parcels"]
    if not has_environment(spec, environment, default_root()):
        write_text(f"Creating an environment with {' '.join(spec.packages)} in {default_root()}, once ...")
    program = program_of(spec, environment, default_root())
    with tempfile.TemporaryDirectory(prefix="exacto-demo-") as directory, SimulatedParcelModels(SKILLS) as models:
        root = Path(directory)
        file = root / "config.yaml"
        file.write_text(yaml.safe_dump(_config(models, root)), encoding="utf-8")
        write_text(f"Starting a LiteLLM proxy with {len(SKILLS)} simulated deployments of {GROUP} ...")
        own = {"LITELLM_MASTER_KEY": KEY, "EXACTO_CONFIG": "", "XDG_STATE_HOME": str(root / "state")}
        try:
            with DemoProxy(file, {**os.environ, **own}) as proxy:
                return _show(proxy.base_url, file, root, program, models)
        except RuntimeError as error:
            raise ExactoError(str(error)) from None


def _show(base_url: str, config: Path, root: Path, program: Path, models: SimulatedParcelModels) -> int:
    spec = SPECIFICATIONS["parcels"]
    _serve_users(base_url)
    before = _tiers(base_url)
    models.skills["revoked"] = REVOKED
    location = location_of_url(_store(root))
    runs = planned(isolated_models(read_config(config)), [spec], Choice())
    invoked = Invoked(config, location, root / "runs", program, Invocation("", spec.runs))
    results = run_all(invoked, spec, runs, (1.0, None), say=write_text, told=lambda one: write_text(sentence_of(one)))
    after = _await_tiers(base_url, before)
    with reading(location) as connection:
        records = runs_since(connection, 0.0)
    scores = {one.deployment: one for one in scores_of(records.get(GROUP, []), time.time(), REFERENCE)}
    write_tables("", heading(f"{GROUP}: scores of the parcel service, and tiers"), _table(scores, before, after))
    write_text(f"\n{_why(base_url, 'careless')}")
    refused = [one for one in results if one.reason]
    for one in refused:
        write_text(f"\n{one.run.model} has no score: {one.reason}")
    write_text(f"spent {sum(one.usd for one in results):.4f} USD (simulated prices); users' traffic was not touched")
    return int(after.get("careless") != "deranked" or not refused)


def _table(scores: dict[str, Score], before: dict[str, str], after: dict[str, str]) -> PlainTable:
    table = PlainTable()
    for column in ("deployment", "score", "of the reference", "verdict", "tier before", "after"):
        table.add_column(column, overflow="fold")
    for name in SKILLS:
        one = scores.get(name)
        told = None if one is None else asdict(one)
        score, share = ("-", "-") if told is None else (score_words(told), share_words(told) or "-")
        verdict = "refused" if told is None else verdict_words(told)
        tiers = (one_of.get(name, "-").replace("_", " ") for one_of in (before, after))
        table.add_row(name, score, share, verdict, *tiers)
    return table


def _serve_users(base_url: str) -> None:
    """Send requests of users to the group until each deployment has enough."""
    headers = {"Authorization": f"Bearer {KEY}"}
    tools = [_tool(name) for name in dict.fromkeys(action for one in REQUESTS for action, _ in one.golden)]
    with (
        httpx.Client(base_url=base_url, headers=headers, timeout=60.0, trust_env=False) as client,
        ThreadPoolExecutor(8) as pool,
    ):

        def ask(number: int) -> None:
            text = REQUESTS[number % len(REQUESTS)].text
            body = {"model": GROUP, "messages": [{"role": "user", "content": text}], "tools": tools}
            client.post("/v1/chat/completions", json=body)

        list(pool.map(ask, range(REQUESTS_EACH * len(SKILLS))))
    time.sleep(2 * INTERVAL_S)


def _tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def _tiers(base_url: str) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.get(f"{base_url}/exacto/api/models/{GROUP}", headers=headers, timeout=30.0, trust_env=False)
    return {one["deployment"]: one["tier"] for one in answer.raise_for_status().json()["deployments"]}


def _why(base_url: str, deployment: str) -> str:
    """Return the reason of a deployment's tier, as ``exacto why`` tells it."""
    headers, asked = {"Authorization": f"Bearer {KEY}"}, {"deployment": deployment}
    found = httpx.get(f"{base_url}/exacto/api/why", params=asked, headers=headers, timeout=30.0, trust_env=False)
    return " ".join(why_sentence(one) for one in found.raise_for_status().json()["answers"])


def _await_tiers(base_url: str, before: dict[str, str]) -> dict[str, str]:
    """Return the tiers after a recompute with the new scores."""
    ends = time.monotonic() + PATIENCE_S
    while (found := _tiers(base_url)) == before and time.monotonic() < ends:
        time.sleep(0.5)
    return found


def _store(root: Path) -> str:
    return f"sqlite:///{root}/exacto.db"


def _config(models: SimulatedParcelModels, root: Path) -> dict[str, Any]:
    entries = [
        {
            "model_name": GROUP,
            "litellm_params": {
                "model": "openai/parcel-model",
                "api_base": models.api_base(name),
                "api_key": "simulated",
                "input_cost_per_token": 0.4e-6,
                "output_cost_per_token": 2.0e-6,
            },
            "model_info": {"id": name, "provider": name},
        }
        for name in SKILLS
    ]
    return {
        "model_list": entries,
        "litellm_settings": {"callbacks": ["exacto_plugin.callback"]},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
        "exacto_settings": {
            "tiers": {"recompute_interval_s": INTERVAL_S},
            "benchmarks": {"reference": {GROUP: REFERENCE}},
            "store": {"url": _store(root)},
        },
    }
