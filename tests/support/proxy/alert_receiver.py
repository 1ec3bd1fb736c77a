"""Receivers of alerts on loopback: a webhook with Slack's path, and a mail server."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    received: list[tuple[str, dict[str, Any]]]
    failing: list[int]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.failing.pop(0) if self.server.failing else 200
        if status == 200:
            self.server.received.append((self.path, body))
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class AlertReceiver:
    """Keeps every body that was posted to it, as a context manager."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.received, self._server.failing = [], []
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"

    def fail_next(self, *statuses: int) -> None:
        """Answer the next posts with these statuses, and keep none of their bodies."""
        self._server.failing += statuses

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """The bodies that came to a path, oldest first."""
        return [body for to, body in list(self._server.received) if to == path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Mails(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    mails: list[str]


class _MailHandler(socketserver.StreamRequestHandler):
    server: _Mails

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "DATA":
                self._say("354 go on")
                lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                self.server.mails.append("\n".join(lines))
            self._say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class MailServer:
    """Keeps every mail, as a context manager."""

    def __init__(self) -> None:
        self._server = _Mails(("127.0.0.1", 0), _MailHandler)
        self._server.mails = []
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.port = self._server.server_address[1]

    @property
    def mails(self) -> list[str]:
        """With their headers, oldest first."""
        return list(self._server.mails)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
