"""Simulated model providers over HTTP on loopback, many in one server.

Each provider has its own path: a deployment's ``api_base`` is ``http://127.0.0.1:PORT/p/NAME/v1``. ``/control`` changes
behaviours while the server runs and returns the recorded requests; :class:`exacto_plugin.demo.control.ProviderControl`
is its client. Loopback only: the control has no authentication.

    python -m exacto_plugin.demo.provider --port 9000
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from exacto_plugin.demo.answer import compose
from exacto_plugin.demo.behaviour import Act, Behaviour
from exacto_plugin.demo.control import ProviderControl
from exacto_plugin.demo.delivery import DeliverySpeed, Silence, Whole
from exacto_plugin.demo.fleet import Fleet, SimulatedProvider
from exacto_plugin.demo.prompt_cache import messages_of
from exacto_plugin.demo.surfaces import EMBEDDINGS, SURFACES, Surface, embeddings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from starlette.requests import Request

HOST: Final = "127.0.0.1"
_START_TIMEOUT_S: Final = 20.0
_KEEP_ALIVE_S: Final = 300
"""Longer than clients' idle time, so that no pooled connection is found closed."""


class ProviderApp:
    """The HTTP endpoints of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def routes(self) -> list[Route]:
        """Return every endpoint: the surfaces of each provider, and the control."""
        return [
            *(Route(f"/p/{{provider}}/v1/{s.path}", self._generating(s), methods=["POST"]) for s in SURFACES),
            Route(f"/p/{{provider}}/v1/{EMBEDDINGS.path}", self._embeddings, methods=["POST"]),
            Route("/control", self._states, methods=["GET"]),
            Route("/control", self._forget, methods=["DELETE"]),
            Route("/control/{provider}", self._state, methods=["GET"]),
            Route("/control/{provider}", self._behave, methods=["POST", "PUT"]),
            Route("/control/{provider}", self._forget, methods=["DELETE"]),
            Route("/control/{provider}/seen", self._seen, methods=["GET"]),
            Route("/control/{provider}/seen", self._forget_seen, methods=["DELETE"]),
        ]

    def _generating(self, surface: Surface) -> Any:
        async def endpoint(request: Request) -> Response:
            return await self._generate(surface, request)

        return endpoint

    async def _generate(self, surface: Surface, request: Request) -> Response:
        provider = self._fleet.provider(request.path_params["provider"])
        body, size = await _read(request, provider)
        if body is None:
            return surface.error(400)
        ask = surface.ask(body, size)
        if provider.behaviour.prompt_cache:
            ask = replace(ask, cached_tokens=min(ask.prompt_tokens, provider.prompts.read(messages_of(body))))
        act, random = provider.turn(tools=bool(ask.tools), forced=ask.forced)
        behaviour = provider.behaviour
        if not provider.admits(time.time()):
            act = 429
        if act is Act.ERROR_FIRST and not ask.stream:
            act = 500
        if not isinstance(act, Act):
            provider.acts[str(act)] += 1
            return surface.error(act, behaviour.retry_after_s)
        answer = compose(behaviour, act, ask, random)
        provider.acts[answer.act.value] += 1
        if act is Act.HANG or (act is Act.STALL and not ask.stream):
            return Silence()
        pace = DeliverySpeed(behaviour.latency_s, behaviour.tokens_per_s)
        response = surface.response(answer, ask, pace, random, int(time.time()))
        if behaviour.reported_limit is not None:
            response.headers["x-ratelimit-limit-requests"] = str(behaviour.reported_limit)
        return response

    async def _embeddings(self, request: Request) -> Response:
        provider = self._fleet.provider(request.path_params["provider"])
        body, size = await _read(request, provider)
        if body is None:
            return EMBEDDINGS.error(400)
        act, random = provider.turn(tools=False, forced=False)
        provider.acts[str(act)] += 1
        if not isinstance(act, Act):
            return EMBEDDINGS.error(act, provider.behaviour.retry_after_s)
        if act is Act.HANG:
            return Silence()
        pace = DeliverySpeed(provider.behaviour.latency_s)
        return Whole(embeddings(body, EMBEDDINGS.ask(body, size), random), pace, 0, drop=act is Act.DROP)

    async def _states(self, request: Request) -> Response:
        return JSONResponse(self._fleet.states())

    async def _state(self, request: Request) -> Response:
        return JSONResponse(self._fleet.provider(request.path_params["provider"]).state())

    async def _behave(self, request: Request) -> Response:
        """Change the given fields and the script (POST), or the whole behaviour (PUT)."""
        provider = self._fleet.provider(request.path_params["provider"])
        kept = provider.behaviour.model_dump(exclude={"next"}) if request.method == "POST" else {}
        try:
            provider.behave(Behaviour.model_validate({**kept, **orjson.loads(await request.body())}))
        except (ValidationError, ValueError, TypeError) as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        return JSONResponse(provider.state())

    async def _forget(self, request: Request) -> Response:
        self._fleet.forget(request.path_params.get("provider"))
        return Response(status_code=204)

    async def _seen(self, request: Request) -> Response:
        return JSONResponse(list(self._fleet.provider(request.path_params["provider"]).seen))

    async def _forget_seen(self, request: Request) -> Response:
        self._fleet.provider(request.path_params["provider"]).seen.clear()
        return Response(status_code=204)


async def _read(request: Request, provider: SimulatedProvider) -> tuple[dict[str, Any] | None, int]:
    """Return the parsed body and its length; None when it is no JSON object.

    The request is recorded with its headers.
    """
    raw = await request.body()
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    provider.seen.append({"path": request.url.path, "headers": dict(request.headers), "body": body})
    return (body if isinstance(body, dict) else None), len(raw)


def build_app(fleet: Fleet) -> Starlette:
    """Build the ASGI application of a fleet."""
    return Starlette(routes=list(ProviderApp(fleet).routes()))


class SimulatedProviders:
    """A server in a thread of its own, as a context manager.

    Args:
        behaviours: initial behaviours by name; every other name begins with the default behaviour.
        port: 0 takes any free one.

    Raises:
        OSError: the port is taken.
        TimeoutError: the server did not start.
    """

    def __init__(self, behaviours: Mapping[str, Behaviour] | None = None, port: int = 0) -> None:
        self._socket = _listening(port)
        self.port: int = self._socket.getsockname()[1]
        self.base_url = f"http://{HOST}:{self.port}"
        self._server = _server(build_app(Fleet(behaviours)))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="simulated-providers", daemon=True
        )
        self.control = ProviderControl(self.base_url)

    def api_base(self, provider: str) -> str:
        """Return the ``api_base`` for a deployment of an OpenAI-compatible provider."""
        return f"{self.base_url}/p/{provider}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        ends = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > ends:
                raise TimeoutError("the simulated providers did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.control.close()
        self._server.should_exit = True
        self._thread.join()


def _listening(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError:
        listening.close()
        raise
    return listening


def _server(app: Starlette) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="critical",  # connections broken on purpose are logged as errors
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,  # hanging answers never end by themselves
            backlog=2048,
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the providers in the foreground until interrupted.

    The first line on stdout is their base URL.
    """
    parser = argparse.ArgumentParser(prog="python -m exacto_plugin.demo.provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one (default)")
    options = parser.parse_args(arguments)
    listening = _listening(options.port)
    sys.stdout.write(f"http://{HOST}:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    _server(build_app(Fleet())).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
