"""Every way to serve: several workers, gunicorn, granian, an ASGI entry of our own, and under a root path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

import exacto_plugin
from tests.support.proxy.observation import api, eventually
from tests.support.proxy.proxy import CALLBACK, MASTER_KEY, Proxy, Server, deployment
from tests.support.proxy.questions import MESSAGES, TOOLS, ask

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders

START_LINE = f"exacto_plugin {exacto_plugin.__version__} is on: "


class Way(NamedTuple):
    """One way to serve."""

    server: Server
    workers: int
    attached: str
    """What the start line says about the middleware."""
    callback: bool = True
    """Whether the callback's line stands in the configuration."""
    root: str = ""
    """SERVER_ROOT_PATH."""


WAYS = {
    "uvicorn-2": Way("uvicorn", 2, "spliced"),
    "gunicorn-2": Way("gunicorn", 2, "spliced"),
    "granian-under-a-root-path": Way("granian", 1, "spliced", root="/gateway"),
    "asgi": Way("asgi", 1, "added"),
    "asgi-without-callback": Way("asgi", 1, "added", callback=False),
}


def _config(providers: SimulatedProviders, *, callback: bool = True) -> dict[str, Any]:
    return {
        "model_list": [deployment(providers, name) for name in ("alpha", "beta")],
        "litellm_settings": {"callbacks": [CALLBACK]} if callback else {},
        "exacto_settings": {
            "curated": {"kimi": ["alpha"]},
            "tiers": {"preset": "openrouter", "recompute_interval_s": 0.2},
        },
    }


def _client(proxy: Proxy) -> httpx.Client:
    """A connection of its own, so that any worker may get it."""
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    return httpx.Client(base_url=proxy.base_url, headers=headers, timeout=60, trust_env=False, verify=False)


@pytest.mark.parametrize("name", WAYS)
def test_every_worker_does_the_whole_job(providers: SimulatedProviders, tmp_path: Path, name: str) -> None:
    """In each worker slugs are enforced, streams come through, answers are scored once and the API tells of it."""
    way = WAYS[name]
    # A copy of the package beside the configuration must not be loaded a second time.
    (tmp_path / "exacto_plugin").symlink_to(Path(exacto_plugin.__file__).parent)
    # This variable, empty or not, has each of them started by the command, uvicorn's workers included.
    config, environment = _config(providers, callback=way.callback), {"SERVER_ROOT_PATH": way.root}
    with Proxy(config, tmp_path, server=way.server, workers=way.workers, environment=environment) as proxy:
        eventually(lambda: proxy.log().count(START_LINE), way.workers)
        assert proxy.log().count(f"middleware {way.attached}, ") == way.workers
        seen = set()

        def workers() -> int:
            seen.add(_worker_that_enforces(proxy, way.root))
            return len(seen)

        eventually(workers, way.workers)
        with _client(proxy) as client:
            path = f"{way.root}/openai/deployments/kimi:exacto/chat/completions"
            _enforced(client.post(path, json={"messages": MESSAGES, "tools": TOOLS}))
        chunks = ask(proxy.client(), "kimi:exacto", stream=True)
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "tool_calls"
        assert providers.control.requests("beta") == 0
        if way.workers == 1:
            eventually(lambda: _samples(proxy, way.root), providers.control.requests("alpha"))
        assert api(proxy, "status", root=way.root).json()["faults"] == {}
        assert api(proxy, "status", key="sk-nobody", root=way.root).status_code in (400, 401)


def _enforced(answer: httpx.Response) -> None:
    """The answer must come from the curated list."""
    assert (answer.status_code, answer.headers.get("x-exacto-deployment")) == (200, "alpha"), answer.text
    assert answer.json()["model"] == "kimi:exacto"


def _worker_that_enforces(proxy: Proxy, root: str) -> str:
    """The worker that answered; it is asked for its name on the same connection, which no other worker has."""
    with _client(proxy) as client:
        body = {"model": "kimi:exacto", "messages": MESSAGES, "tools": TOOLS}
        _enforced(client.post(f"{root}/v1/chat/completions", json=body))
        return str(client.get(f"{root}/exacto/api/status").json()["sharing"]["worker"])


def _samples(proxy: Proxy, root: str) -> int:
    answer = api(proxy, "models/kimi", root=root)
    found = {one["deployment"]: one["signals"] for one in answer.json().get("deployments", ())}
    return int(found.get("alpha", {}).get("tool_call_success", {}).get("samples", 0))
