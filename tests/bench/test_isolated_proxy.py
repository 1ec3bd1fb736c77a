"""The isolated proxy: pinned deployments, errors as they are, a budget, and no process that is left over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import yaml

from exacto_plugin.bench.isolated.configuration import METER, isolated_models
from exacto_plugin.bench.isolated.guarded import GuardedProcess
from exacto_plugin.bench.isolated.meter import Meter
from exacto_plugin.bench.isolated.proxy import IsolatedProxy, isolated_proxy
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRICE = 1e-3
"""USD per token of the simulated deployments."""


def config_of(providers: SimulatedProviders) -> dict[str, Any]:
    """A configuration with all that must not reach the isolated proxy."""
    return {
        "model_list": [
            {
                "model_name": "g",
                "litellm_params": {
                    "model": "openai/m",
                    "api_base": providers.api_base(name),
                    "api_key": "theirs",
                    "input_cost_per_token": PRICE,
                    "output_cost_per_token": PRICE,
                    "num_retries": 3,
                    "order": 1,
                },
                "model_info": {"id": name, "provider": name, "team_id": "t"},
            }
            for name in "abc"
        ],
        "litellm_settings": {
            "callbacks": ["exacto_plugin.callback"],
            "default_fallbacks": ["g"],
            "cache": True,
            "drop_params": True,
        },
        "router_settings": {"num_retries": 3, "allowed_fails": 0, "fallbacks": [{"g": ["g"]}]},
        "general_settings": {"master_key": "sk-users", "database_url": "postgresql://production"},
        "environment_variables": {"DATABASE_URL": "postgresql://production", "KEPT": "1"},
    }


@pytest.fixture(scope="module")
def providers() -> Iterator[SimulatedProviders]:
    """Providers on loopback."""
    with SimulatedProviders() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(providers: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedProxy]:
    """One isolated proxy for all of these tests."""
    file = tmp_path_factory.mktemp("isolated") / "config.yaml"
    file.write_text(yaml.safe_dump(config_of(providers)))
    with isolated_proxy(file, max_usd=1.0) as running:
        yield running


def ask(proxy: IsolatedProxy, model: str) -> httpx.Response:
    """One request."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {proxy.key}"}
    return httpx.post(f"{proxy.base_url}/v1/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)


def test_nothing_that_sends_requests_elsewhere_is_kept(providers: SimulatedProviders) -> None:
    """Fallbacks, retries, caches, teams, callbacks, keys and databases of the users' proxy are left out."""
    models = isolated_models(config_of(providers))
    pinned = [one for one in models.config["model_list"] if not one["model_name"].startswith("baseline/")]
    assert [one["model_name"] for one in pinned] == [one["model_info"]["id"] for one in pinned] == ["a", "b", "c"]
    assert [target.deployment for target in models.targets] == ["a", "b", "c"]
    assert models.baselines == {"g": "baseline/g"}
    for one in models.config["model_list"]:
        assert one["litellm_params"]["max_retries"] == 0
        assert not {"num_retries", "tags", "fallbacks"} & set(one["litellm_params"])
        assert "team_id" not in one["model_info"]
    assert models.config["litellm_settings"] == {
        "callbacks": [METER], "drop_params": True, "num_retries": 0, "telemetry": False,
    }  # fmt: skip
    assert models.config["router_settings"] == {"num_retries": 0, "disable_cooldowns": True}
    assert models.config["general_settings"] == {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    assert models.config["environment_variables"] == {"KEPT": "1"}


def test_patterns_and_other_modes_are_skipped_with_a_reason() -> None:
    """They name no chat model that can be asked."""
    entries = [
        {"model_name": "openai/*", "litellm_params": {"model": "openai/*"}},
        {"model_name": "e", "litellm_params": {"model": "openai/e"}, "model_info": {"mode": "embedding"}},
    ]
    models = isolated_models({"model_list": entries})
    assert models.targets == ()
    assert [one.partition(":")[0] for one in models.skipped] == ["openai/*", "e"]
    with pytest.raises(ExactoError, match="there are: none"):
        models.named("x")


def test_only_the_named_deployment_answers(proxy: IsolatedProxy, providers: SimulatedProviders) -> None:
    """A failing one fails, once for each request, and is asked again the next time."""
    before = providers.control.requests("b")
    providers.control.behave("b", next=[503, 503, 503])
    assert [ask(proxy, "b").status_code for _ in range(4)] == [503, 503, 503, 200]
    assert providers.control.requests("b") - before == 4
    answer = ask(proxy, "a")
    assert (answer.status_code, answer.headers["x-litellm-model-id"]) == (200, "a")
    assert ask(proxy, "g").status_code == 400
    other = {name.removeprefix("x-") for name in answer.headers if name.startswith("x-exacto")}
    assert other == set()


def test_the_baseline_is_spread(proxy: IsolatedProxy) -> None:
    """LiteLLM's own routing picks among the deployments of the group."""
    found = {ask(proxy, "baseline/g").headers["x-litellm-model-id"] for _ in range(12)}
    assert found <= {"baseline/g/a", "baseline/g/b", "baseline/g/c"}
    assert len(found) > 1


def test_a_wrong_key_is_refused(proxy: IsolatedProxy) -> None:
    """The users' master key is none here."""
    headers = {"Authorization": "Bearer sk-users"}
    assert httpx.get(f"{proxy.base_url}/v1/models", headers=headers, trust_env=False).status_code in (400, 401)


def test_the_budget_ends_the_requests(proxy: IsolatedProxy) -> None:
    """Beyond it status 402, and the answers cost at most one more than it."""
    for _ in range(60):
        if ask(proxy, "c").status_code == 402:
            break
    answers = [ask(proxy, name).status_code for name in ("a", "b", "baseline/g")]
    assert answers == [402, 402, 402]
    assert 1.0 <= proxy.spent_usd() < 1.0 + 100 * PRICE


def test_what_was_spent_before_counts(tmp_path: Path) -> None:
    """Also after a crash that cut off the last line."""
    file = tmp_path / "costs.jsonl"
    file.write_text('{"usd": 0.4}\n{"usd": 0.3}\n{"usd": 0.')
    assert Meter(file, 1.0)._spent == pytest.approx(0.7)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_ends_with_its_starter(ending: signal.Signals, tmp_path: Path) -> None:
    """However the starter ends; the command's own children too."""
    command = ["/bin/sh", "-c", f"sleep 300 & echo $$ $! > {tmp_path}/pids; wait"]
    program = (
        "import os, time\nfrom pathlib import Path\n"
        "from exacto_plugin.bench.isolated.guarded import GuardedProcess\n"
        f"made = GuardedProcess({command!r}, os.environ, Path('/tmp'), open('/dev/null', 'wb'))\ntime.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as starter:
        pids = _pids(tmp_path / "pids")
        starter.send_signal(ending)
        starter.wait()
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    _, alive = psutil.wait_procs(found, timeout=30)
    assert alive == []


def test_a_command_that_is_stopped(tmp_path: Path) -> None:
    """Its status is told, and stopping it twice does no harm."""
    with (tmp_path / "log").open("wb") as log:
        quick = GuardedProcess(["/bin/sh", "-c", "echo said; exit 3"], os.environ, tmp_path, log)
        assert quick.wait(30) == 3
        slow = GuardedProcess(["/bin/sleep", "300"], os.environ, tmp_path, log)
        slow.stop()
        slow.stop()
        assert slow.poll() is not None
    assert (tmp_path / "log").read_text() == "said\n"


def _pids(file: Path) -> list[int]:
    for _ in range(600):
        if file.exists() and len(file.read_text().split()) == 2:
            return [int(one) for one in file.read_text().split()]
        time.sleep(0.05)
    raise AssertionError("the command did not start")
