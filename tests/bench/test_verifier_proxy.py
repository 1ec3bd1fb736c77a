"""The verifier through the isolated proxy that the command starts: pinned deployments, costs, and a verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest
import yaml

from exacto_plugin.bench.running.shared import BenchmarkState
from exacto_plugin.bench.verifier.replay import Tally
from exacto_plugin.bench.verifier.scoring import ScoredAnswer
from exacto_plugin.bench.verifier.suite import bundled_suite
from exacto_plugin.benchmark_scores.source import replays_since
from exacto_plugin.cli.command import main
from exacto_plugin.demo.behaviour import Behaviour
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import reading

if TYPE_CHECKING:
    from pathlib import Path

PRICE = 1e-6
"""USD per token."""


def test_a_configuration_is_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A deployment that no one has asked yet is judged beside the configured reference, and what it cost is kept."""
    url = f"sqlite:///{tmp_path}/exacto.db"
    samples = tmp_path / "samples.jsonl"
    samples.write_bytes(b"\n".join(map(orjson.dumps, bundled_suite(80).bodies)))
    with SimulatedProviders({"b": Behaviour(error_rate=0.3), "a": Behaviour()}) as providers:
        entries = [
            {
                "model_name": "g",
                "litellm_params": {
                    "model": "openai/m",
                    "api_base": providers.api_base(name),
                    "api_key": "theirs",
                    "input_cost_per_token": PRICE,
                    "output_cost_per_token": PRICE,
                },
                "model_info": {"id": name, "provider": name},
            }
            for name in "ab"
        ]
        block = {"store": {"url": url}, "benchmarks": {"reference": {"g": "a"}}}
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump({"model_list": entries, "exacto_settings": block}))
        command = ["bench", "run", "verifier", "--config", str(config), "--deployment", "b", "--samples", str(samples)]
        assert main(command) == 1
        assert "a (g), b (g): at most about 80 requests each" in capsys.readouterr().out
        assert main([*command, "--yes", "--max-usd", "1", "--json"]) == 1
    reference, flagged = json.loads(capsys.readouterr().out)["runs"]
    assert (reference["deployment"], reference["requests"], reference["bad"]) == ("a", 80, 0)
    assert (flagged["deployment"], flagged["decision"], flagged["against"]) == ("b", "flagged", "a")
    assert flagged["calls"] <= 60
    used = flagged["input_tokens"] + flagged["output_tokens"]
    assert flagged["cost"] == pytest.approx(PRICE * used)
    with reading(location_of_url(url)) as connection:
        kept = replays_since(connection, 0.0)["g"]
    assert [(one.deployment, one.refused) for one in kept] == [("a", ""), ("b", "")]
    spent = BenchmarkState(location_of_url(url)).spent()  # answers on their way at its end cost too
    least = reference["cost"] + flagged["cost"]
    assert least - 1e-9 <= spent < least + PRICE * used


def test_money_is_exceeded_by_one_request_at_most() -> None:
    """The first answer tells a price; then as many requests are sent as the rest pays for."""
    tally, answer = Tally(), ScoredAnswer(True, False, (), 100, 10)
    assert tally.affords(0, 0.01)
    assert not tally.affords(1, 0.01)
    tally.add(answer, httpx.Headers({"X-LiteLLM-Response-Cost": "0.003"}))
    assert [tally.affords(pending, 0.01) for pending in range(4)] == [True, True, False, False]
    for _ in range(2):
        tally.add(answer, httpx.Headers({"X-LiteLLM-Response-Cost": "0.003"}))
    assert not tally.affords(0, 0.01)
    assert tally.affords(7, None)
