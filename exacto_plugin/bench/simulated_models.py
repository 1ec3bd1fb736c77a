"""A server on loopback that stands for the APIs of several providers."""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType


class SimulatedModels(ABC):
    """Chat completions of providers by their names; a context manager."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        """Requests so far, by provider."""
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.models = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def api_base(self, provider: str) -> str:
        """Return the ``api_base`` of a deployment."""
        return f"http://127.0.0.1:{self._server.server_port}/{provider}/v1"

    def counted(self, provider: str) -> int:
        """Count a request; return its number."""
        with self.lock:
            self.requests[provider] += 1
            return self.requests[provider]

    @abstractmethod
    def answer(self, provider: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a request; None for an error."""

    def status(self, provider: str) -> int:
        """Return the status of a provider's failures."""
        del provider
        return 503

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, empty without one."""
    content = message.get("content")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())


def completion(
    body: Mapping[str, Any], text: str | None, action: tuple[str, Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Return a chat completion: a text, or a call of a tool with its arguments."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    size = sum(len(text_of(one)) for one in body["messages"]) // 4 + 1
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
    models: SimulatedModels


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        provider = self.path.split("/")[1]
        found = self.server.models.answer(provider, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = 200 if found is not None else self.server.models.status(provider)
        data = json.dumps(found or {"error": {"message": "simulated failure", "type": "server_error"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing."""
