"""The middleware by itself: where it is attached, which paths carry a model, what a header may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Sort
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.litellm_hooks.http.middleware import ExactoMiddleware, attach
from exacto_plugin.litellm_hooks.http.model_routes import PathModel, is_model_route, path_model
from exacto_plugin.litellm_hooks.proxy import middleware_of
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

LONG = 8000


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (
            "/openai/deployments/a/b:exacto/chat/completions",
            ("/openai/deployments/", "a/b:exacto", "/chat/completions"),
        ),
        ("/engines/x/completions", ("/engines/", "x", "/completions")),
        ("/v1beta/models/g:exacto:generateContent", ("/v1beta/models/", "g:exacto", ":generateContent")),
        ("/engines/engines/completions", ("/engines/", "engines", "/completions")),
        ("/models/x/completions", None),
        ("/engines/x:generateContent", None),
        ("/root/engines/x/embeddings", None),
        ("/gemini/v1beta/models/g:exacto:generateContent", None),
        ("/vertex_ai/v1/projects/p/models/g:generateContent", None),
        ("/pt/openai/deployments/x/chat/completions", None),
        ("/openai/deployments/x/images/generations", ("/openai/deployments/", "x", "/images/generations")),
        ("/v1/chat/completions", None),
        ("/models//chat/completions", None),
        ("/models/x", None),
        ("/models/a/", None),
        ("", None),
        # Anybody may send these: a pattern that backtracks took 13 seconds for the first.
        ("/models" * LONG + "/x", None),
        ("/engines/" * LONG + "completions", None),
        ("/engines/" + "a/" * LONG + "x/completions", ("/engines/", "a/" * LONG + "x", "/completions")),
        (":" * 5 * LONG, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_paths_that_carry_a_model(path: str, found: tuple[str, str, str] | None) -> None:
    """Azure's, OpenAI's old and Gemini's paths are taken apart, whatever else the path says and however long it is."""
    assert path_model(path) == (None if found is None else PathModel(*found))


def test_paths_under_a_root() -> None:
    """The root is the proxy's own; another prefix belongs to another endpoint."""
    assert path_model("/root/engines/x/embeddings", "/root") == PathModel("/root/engines/", "x", "/embeddings")
    assert path_model("/root/engines/x/embeddings", "/root/") == PathModel("/root/engines/", "x", "/embeddings")
    assert path_model("/other/engines/x/embeddings", "/root") is None
    assert is_model_route("/root/v1/chat/completions", "/root")
    assert not is_model_route("/other/v1/chat/completions", "/root")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        *((path, True) for path in (
            "/v1/chat/completions", "/chat/completions", "/chat/completions/", "/v1/responses", "/openai/v1/responses",
            "/v1/responses/compact", "/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings", "/v2/rerank",
            "/v1/images/generations", "/v1/audio/transcriptions", "/utils/token_counter", "/v1beta/interactions",
            "/cursor/chat/completions",
        )),
        *((path, False) for path in (
            "/openai/v1/chat/completions", "/openai/chat/completions", "/anthropic/v1/messages", "/pt/chat/completions",
            "/openrouter/v1/chat/completions", "/vllm/v1/chat/completions", "/mistral/v1/embeddings", "/messages/",
            "/v1/threads/t/messages", "/mcp/sse/messages", "/key/generate", "/v1/chat/completions/x", "/", "",
        )),
    ],
)  # fmt: skip
def test_routes_whose_body_names_a_model(path: str, known: bool) -> None:
    """LiteLLM's own, by their whole paths: pass-through endpoints may end alike."""
    assert is_model_route(path) is known


async def _answer(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


def _app(**more: Any) -> Starlette:
    return Starlette(routes=[Route("/v1/chat/completions", _answer, methods=["POST"])], **more)


async def _post(app: Any, body: bytes = b'{"model": "m"}') -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        return await client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})


@pytest.fixture
def runtime() -> Runtime:
    """A runtime without any router."""
    return Runtime(Settings())


async def test_attached_before_the_start(runtime: Runtime) -> None:
    """An application that has not started takes the middleware among its own; a second time does nothing."""
    app = _app()
    assert attach(app, middleware_of(runtime, lambda: None)) == "added"
    assert attach(app, middleware_of(runtime, lambda: None)) == "already"
    assert (await _post(app)).json() == {"model": "m"}


async def test_attached_after_the_start(runtime: Runtime) -> None:
    """A running application gets it right in front of its router, behind what stands there already."""
    app = _app(middleware=[Middleware(GZipMiddleware)])
    assert (await _post(app)).json() == {"model": "m"}
    assert attach(app, middleware_of(runtime, lambda: None)) == "spliced"
    assert attach(app, middleware_of(runtime, lambda: None)) == "already"
    node: Any = app.middleware_stack
    while not isinstance(node, ExactoMiddleware):
        node = node.app
    assert node._app is app.router
    assert (await _post(app)).json() == {"model": "m"}


async def test_attached_to_an_unknown_stack(runtime: Runtime) -> None:
    """Where the router cannot be found the middleware goes outside of everything."""
    app = _app()
    inner = app.build_middleware_stack()

    async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    app.middleware_stack = opaque
    assert attach(app, middleware_of(runtime, lambda: None)) == "wrapped"
    assert (await _post(app)).json() == {"model": "m"}


async def test_a_header_is_one_line(runtime: Runtime) -> None:
    """The name of a wildcard's deployment ends with what the client asked for; it cannot add headers or break any."""
    key = "wild:x\r\nSet-Cookie: a=b\x00ü"

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        state = CURRENT.get()
        assert state is not None
        state.routing.policy = Policy(Sort.AUTO)
        state.attempts.append(Attempt(Candidate(LiteLLMId("i"), DeploymentKey(key), "provider"), "group"))
        await JSONResponse({})(scope, receive, send)

    answer = await _post(middleware_of(runtime, lambda: None)(served))
    assert answer.headers["x-exacto-deployment"] == "wild:x??Set-Cookie: a=b??"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b"null", b'{"model": 1}', b'{"model": "m"', b"\xff"])
async def test_any_body_reaches_the_application(runtime: Runtime, body: bytes) -> None:
    """What is no request of ours to read comes through byte for byte, without a fault."""
    seen: list[bytes] = []

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((await receive())["body"])
        await JSONResponse({})(scope, receive, send)

    assert (await _post(middleware_of(runtime, lambda: None)(echo), body)).status_code == 200
    assert seen == [body]
    assert runtime.context.faults.counts == {}
