"""The example files, and a page with simulated providers, start a real proxy as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exacto_plugin.demo.provider import SimulatedProviders
from tests.support.pages import BLOCKS
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


def test_the_page_with_simulated_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/how-to/simulated-providers.md: its configuration serves, and its program is answered, on other ports."""
    config, program = (
        next(one.body for one in BLOCKS if (one.page, one.language) == ("docs/how-to/simulated-providers.md", language))
        for language in ("yaml", "python")
    )
    with SimulatedProviders() as providers:
        (tmp_path / "config.yaml").write_text(config.replace("http://127.0.0.1:9000", providers.base_url), "utf-8")
        environment = _environment()
        monkeypatch.setenv("LITELLM_MASTER_KEY", MASTER_KEY)
        with ForkedProxy(tmp_path / "config.yaml", environment, environment, ()) as proxy:
            addresses = {"http://127.0.0.1:9000": providers.base_url, "http://127.0.0.1:4000": proxy.base_url}
            for address, own in {**addresses, "range(600)": "range(30)"}.items():
                assert address in program
                program = program.replace(address, own)
            exec(compile(program, "simulated-providers.md", "exec"), {})
            headers = {"Authorization": f"Bearer {MASTER_KEY}"}
            listed = plain_http().get(f"{proxy.base_url}/exacto/api/models", headers=headers).json()
        states = providers.control.states()
    assert "kimi" in str(listed)
    assert set(states) == {"oak", "cedar", "larch"}
    assert sum(state["requests"] for state in states.values()) == 30
    assert states["cedar"]["behaviour"]["error_rate"] == 0.2
