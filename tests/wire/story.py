"""Two hours of a proxy, under both presets, of which sections read the store, the log and the API's answers."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi.testclient import TestClient

from exacto_plugin.core.model import Blame, Flaw
from exacto_plugin.core.routing.overrides import OverrideAction
from exacto_plugin.core.scoring.attribution import Attribution
from tests.support.administrator import api_of
from tests.support.served_proxy import GROUPS, START, ServedProxy, repeatable

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.request.state import RequestState

KIMI, QWEN = GROUPS
NAMES = frozenset({*GROUPS, *(name for names in GROUPS.values() for name in names)})
CURATED = {KIMI: ["aster-ai", "birch"]}
PUBLISHED = {"preset": "openrouter", "openrouter": {"tool_call_requests": 50, "throughput_requests": 20}}


class Story(NamedTuple):
    """What is left of it."""

    store: Path
    outcomes: str
    """The log of outcomes."""
    answers: dict[str, Any]
    """Of the API, by method and path."""
    schema: dict[str, Any]
    """The API's OpenAPI schema."""


@cache
def story() -> Story:
    """Told once in a process."""
    directory = Path(tempfile.mkdtemp(prefix="exacto-wire-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    settings = {"curated": CURATED, "store": {"decision_share": 1.0, "outcomes": str(directory)}}
    with repeatable():
        proxy = ServedProxy(settings, f"sqlite:///{directory / 'records.sqlite'}")
        request = asyncio.run(_serve(proxy, settings))
        assert proxy.runtime.store.flush()
        answers, schema = _asked(proxy, request)
        asyncio.run(_ends(proxy))
    (log,) = directory.glob("*.jsonl")
    return Story(directory / "records.sqlite", log.read_text(), answers, schema)


async def _serve(proxy: ServedProxy, settings: dict[str, Any]) -> RequestState:
    """One of six deployments breaks, an operator steps in, and the preset changes in the second hour."""
    await proxy.turn()
    state = None
    for step in range(26):
        failing = {"cedar": 0.4, "fir": 0.3} if step > 6 else {"fir": 0.04}
        proxy.answers(20, failing)
        for group in GROUPS:
            state = proxy.request(group, failing, fails_first=step % 5 == 1)
        proxy.runtime.engine.watch(KIMI, proxy.now)
        if step == 12:
            await proxy.say(OverrideAction.GOOD, "cedar", 7200.0, "vendor fixed it")
        if step == 16:
            proxy.configure({**settings, "tiers": PUBLISHED})
        await proxy.turn()
    proxy.configure(settings)
    await proxy.turn()
    proxy.answers(20, {"cedar": 0.4})
    await proxy.turn()
    assert state is not None
    return state


async def _ends(proxy: ServedProxy) -> None:
    proxy.answers(3, {})
    await proxy.end()


def _asked(proxy: ServedProxy, request: RequestState) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answers of every route to an administrator."""
    runtime = proxy.runtime
    candidate = proxy.candidates(KIMI)[0]
    runtime.samples.note_flaws(Attribution((Flaw.DUPLICATE_ID,), Blame.PROVIDER), KIMI, candidate)
    runtime.context.faults.report("order", ValueError())
    app = api_of(runtime)
    client = TestClient(app)
    past = START + 11 * 300.0 + 60.0

    def get(path: str, **parameters: Any) -> Any:
        return client.get(f"/exacto/api/{path}", params=parameters).raise_for_status().json()

    said = {"deployment": "fir", "word": "deranked", "for_s": 60.0, "reason": "it answers nonsense"}
    answers = {
        "GET status": get("status"),
        "GET models": get("models"),
        "GET models/GROUP": get(f"models/{KIMI}"),
        "GET why, now": [get("why", deployment=name) for name in sorted(NAMES - GROUPS.keys())],
        "GET why, then": [
            get("why", deployment=name, at=at)
            for name in sorted(NAMES - GROUPS.keys())
            for at in (past, past + 1200.0, proxy.now - 60.0)
        ],
        "GET why, before the first record": get("why", deployment="cedar", at=START - 60.0),
        "GET audit": {
            kind: get("audit", kinds=[kind], limit=10_000)
            for kind in ("transition", "override", "settings", "decision", "deployment")
        },
        "GET decisions/ID": get(f"decisions/{request.decision_id}"),
        "GET report": get("report", since=START - 60.0, until=proxy.now),
        "POST overrides": client.post("/exacto/api/overrides", json=said).raise_for_status().json(),
        "GET overrides": get("overrides"),
        "an error": client.get("/exacto/api/models/nobody").json(),
    }
    return answers, app.openapi()
