"""Simulated providers that answer the requests of the parcel service.

The rate of wrong conversations is given. A right conversation makes the golden actions of its request, one after the
other; a wrong one makes them with another parcel, or does what the rules forbid. Failures are HTTP errors.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from exacto_plugin.bench.parcels.parcel_world import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from exacto_plugin.bench.parcels.parcel_world import Action, Request


class Skill(NamedTuple):
    """How a simulated provider answers."""

    wrong: float = 0.0
    """Share of conversations that end wrongly, 0..1."""
    down: float = 0.0
    """Share of requests that fail."""
    status: int = 503
    """Of those."""
    after: int = 0
    """Requests that are served before ``down`` begins."""
    latency_s: float = 0.0


class SimulatedParcelModels:
    """A server on loopback with an API for each provider; a context manager.

    Args:
        skills: by name of the provider, which can be changed while the server runs.
        seed: of all draws.
    """

    def __init__(self, skills: Mapping[str, Skill], seed: int = 1) -> None:
        self.skills = dict(skills)
        self.requests: Counter[str] = Counter()
        """Requests so far, by provider."""
        self._seed = seed
        self._conversations: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.models = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def api_base(self, provider: str) -> str:
        """Return the ``api_base`` of a deployment."""
        return f"http://127.0.0.1:{self._server.server_port}/{provider}/v1"

    def answer(self, provider: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a request; None for an error."""
        with self._lock:
            self.requests[provider] += 1
            number = self.requests[provider]
        skill = self.skills.get(provider, Skill())
        time.sleep(skill.latency_s)
        if number > skill.after and Random(f"{self._seed} {provider} {number}").random() < skill.down:
            return None
        messages = body["messages"]
        asked = next((_text(one) for one in messages if one["role"] == "user"), "")
        made = sum(one["role"] == "assistant" for one in messages)
        request = next((one for one in REQUESTS if one.text == asked), None)
        if request is None:
            return _completion(body, f"ok {number}", None)
        actions = request.golden
        if self._is_wrong(provider, request, skill, first=not made):
            actions = _spoiled(request)
        action = actions[made] if made < len(actions) else None
        return _completion(body, None if action else "That is done.", action)

    def _is_wrong(self, provider: str, request: Request, skill: Skill, *, first: bool) -> bool:
        """Draw once for each conversation; those of one request end one after the other."""
        with self._lock:
            self._conversations[provider, request.name] += first
            number = self._conversations[provider, request.name]
        return Random(f"{self._seed} {provider} {request.name} {number}").random() < skill.wrong

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


def _spoiled(request: Request) -> tuple[Action, ...]:
    """Return actions that end wrongly.

    The last change is made to another parcel, or a forbidden one is made.
    """
    *before, (name, arguments) = request.golden
    if name in ("find_parcels", "get_parcel", "list_lockers"):
        return (*request.golden, ("add_note", {"parcel": "P103", "note": "please"}))
    return (*before, (name, {**arguments, "parcel": "P103"}))


def _completion(body: Mapping[str, Any], text: str | None, action: Action | None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    size = sum(len(_text(one)) for one in body["messages"]) // 4 + 1
    if action is not None:
        function = {"name": action[0], "arguments": json.dumps(action[1])}
        message["tool_calls"] = [{"id": f"call_{len(body['messages'])}", "type": "function", "function": function}]
    return {
        "id": "simulated",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model", ""),
        "choices": [{"index": 0, "finish_reason": "tool_calls" if action else "stop", "message": message}],
        "usage": {"prompt_tokens": size, "completion_tokens": 20, "total_tokens": size + 20},
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    models: SimulatedParcelModels


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = self.server.models.answer(self.path.split("/")[1], body)
        status = 200 if found is not None else self.server.models.skills[self.path.split("/")[1]].status
        data = json.dumps(found or {"error": {"message": "simulated failure", "type": "server_error"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""
