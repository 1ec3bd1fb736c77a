"""Answers that leave without being scored are counted by surface, and told once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from exacto_plugin.litellm_hooks.features import UNSCORED_RUN
from exacto_plugin.litellm_hooks.http.model_routes import surface_of
from exacto_plugin.litellm_hooks.http.responder import Responder
from exacto_plugin.litellm_hooks.proxy import middleware_of
from exacto_plugin.litellm_hooks.request.state import CURRENT, LOG_KEY, RequestState
from tests.litellm_hooks.scoring.test_response import CALL, chat
from tests.litellm_hooks.scoring.test_scorer import BEGAN, ENDED, Recorder, attempt, event, scorer_of
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

SURFACES = ("/v1/chat/completions", "/v1/messages")


async def _ask(runtime: Recorder, logged: Collection[str], times: int, status: int = 200, **body: Any) -> None:
    """Ask a LiteLLM that gives log events for these paths only."""
    scorer = scorer_of(runtime)

    async def answer(request: Request) -> JSONResponse:
        if request.url.path in logged:
            state = CURRENT.get()
            assert state is not None
            state.attempts.append(attempt("a"))
            scorer.record_answer({**event(), LOG_KEY: state}, chat(CALL), BEGAN, ENDED)
        return JSONResponse({}, status)

    app = Starlette(routes=[Route(path, answer, methods=["POST"]) for path in SURFACES])
    transport = httpx.ASGITransport(middleware_of(runtime, lambda: None)(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        for _ in range(times):
            for path in SURFACES:
                await client.post(path, json={"model": "m", "messages": MESSAGES, **body})


async def test_a_surface_without_log_events_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """After a run of unscored answers the feature is off with the reason, until one is scored."""
    runtime = Recorder()
    features = runtime.context.features
    with caplog.at_level(logging.WARNING, "exacto_plugin"):
        await _ask(runtime, SURFACES[:1], UNSCORED_RUN - 1, tools=TOOLS)
        assert features.off == {}
        await _ask(runtime, SURFACES[:1], 2, tools=TOOLS)
    asked = UNSCORED_RUN + 1
    expected = {"chat": {"left": asked, "scored": asked}, "messages": {"left": asked, "scored": 0}}
    assert runtime.context.coverage.view() == expected
    assert [*features.off] == ["scoring"]
    assert "log events of the surface 'messages'" in features.off[next(iter(features.off))]
    assert [record.message for record in caplog.records if "surface" in record.message] == features.warnings()
    await _ask(runtime, SURFACES, 1, tools=TOOLS)
    assert features.off == {}
    assert runtime.context.coverage.view()["messages"] == {"left": asked + 1, "scored": 1}


async def test_streams_that_run_are_not_missed() -> None:
    """Many long streams may begin before the first one ends and is scored."""
    runtime = Recorder()

    async def send(_message: object) -> None:
        return None

    streams = [
        Responder(send, RequestState(surface="chat"), runtime.context, SURFACES[0]) for _ in range(UNSCORED_RUN + 1)
    ]
    for stream in streams:
        await stream({"type": "http.response.start", "status": 200, "headers": []})
        await stream({"type": "http.response.body", "body": b"data: {}", "more_body": True})
    assert runtime.context.coverage.view() == {}
    assert runtime.context.features.off == {}
    await streams[0]({"type": "http.response.body", "body": b"", "more_body": False})
    assert runtime.context.coverage.view() == {"chat": {"left": 1, "scored": 0}}


async def test_what_could_not_be_scored_is_not_missed() -> None:
    """Requests without tools, and errors."""
    runtime = Recorder()
    await _ask(runtime, (), 2)
    await _ask(runtime, (), 2, status=500, tools=TOOLS)
    assert runtime.context.coverage.view() == {}


@pytest.mark.parametrize(
    ("path", "surface"),
    [
        ("/v1/chat/completions", "chat"),
        ("/openai/deployments/m/chat/completions", "chat"),
        ("/v1/responses/", "responses"),
        ("/v1/messages", "messages"),
        ("/v1/messages/count_tokens", ""),
        ("/v1/responses/compact", ""),
        ("/v1/embeddings", ""),
    ],
)
def test_surfaces(path: str, surface: str) -> None:
    """Those whose answers may have calls."""
    assert surface_of(path) == surface
