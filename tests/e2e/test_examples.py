"""The example files start a real proxy as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.proxy.bare_http import plain_http
from tests.support.proxy.forkserver import ForkedProxy
from tests.support.proxy.proxy import MASTER_KEY, _environment

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("settings", [None, "examples/curated.yaml"], ids=["config.example", "curated"])
def test_the_examples_start_a_proxy(tmp_path: Path, settings: str | None) -> None:
    """config.example.yaml serves its model, alone and with examples/curated.yaml as the settings."""
    shutil.copy(ROOT / "config.example.yaml", tmp_path / "config.yaml")
    keys = {"FIREWORKS_API_KEY": "none", "DEEPINFRA_API_KEY": "none"}
    named = {"EXACTO_CONFIG": str(ROOT / settings)} if settings else {}
    environment = _environment()
    with ForkedProxy(tmp_path / "config.yaml", {**environment, **keys, **named}, environment, ()) as proxy:
        headers = {"Authorization": f"Bearer {MASTER_KEY}"}
        models = plain_http().get(f"{proxy.base_url}/v1/models", headers=headers).json()["data"]
        status = plain_http().get(f"{proxy.base_url}/exacto/api/status", headers=headers).json()
        started = proxy.log.read_text(errors="replace")
    assert [model["id"] for model in models] == ["moonshotai/kimi-k2-0905"]
    assert (status["preset"], status["missing_seams"]) == ("adaptive", [])
    assert "all features on" in started
    assert all(one == {"on": True, "reason": None, "remedy": None} for one in status["features"].values())
