"""What is said when a proxy cannot be asked: what is the matter, and what helps."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

import httpx
import pytest

from exacto_plugin.cli.command import main
from exacto_plugin.cli.proxy_client import ProxyError, _connection_words, base_url, request_json

if TYPE_CHECKING:
    from collections.abc import Iterator


class Anything(BaseHTTPRequestHandler):
    """Answers what a test wants."""

    answer: ClassVar[tuple[int, bytes]] = (200, b"{}")

    def do_GET(self) -> None:
        """Answer."""
        status, body = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server that answers what a test wants."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Anything) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(autouse=True)
def _with_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXACTO_API_KEY", "sk-x")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def refusal(url: str) -> ProxyError:
    """What is said of a proxy."""
    with pytest.raises(ProxyError) as error:
        request_json(url, "status")
    return error.value


def test_an_address_without_a_scheme(port: int) -> None:
    """It is HTTP."""
    Anything.answer = (200, b'{"a": 1}')
    assert request_json(f"127.0.0.1:{port}", "status") == {"a": 1}
    assert base_url("https://x/") == "https://x"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, b"no"), "answered 401; an admin key in EXACTO_API_KEY is needed"),
        ((200, b"<html>"), "answered 200 without JSON; is it a LiteLLM proxy?"),
        ((404, b'{"detail": "Not Found"}'), "has no /exacto/api; is exacto_plugin.callback in litellm_settings"),
        ((400, b'{"error": {"message": "No connected db."}}'), "answered 400; the key may be unknown there: an admin"),
        ((422, b'{"detail": [{"loc": ["body", "for_s"], "msg": "too long"}]}'), "for_s: too long"),
    ],
)
def test_answers_of_another_kind(port: int, answer: tuple[int, bytes], told: str) -> None:
    """Each with what helps."""
    Anything.answer = answer
    assert told in str(refusal(f"http://127.0.0.1:{port}"))


def test_the_address_of_the_page(port: int) -> None:
    """As it is copied from a browser; the callback is there, so that is no advice."""
    Anything.answer = (404, b'{"detail": "Not Found"}')
    told = str(refusal(f"http://127.0.0.1:{port}/exacto/"))
    assert told.endswith("has no /exacto/api; leave /exacto out of the address")


@pytest.mark.parametrize("verb", [["doctor"], ["curate"], ["override", "a", "reset"]])
def test_without_an_address(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    """Both ways to give one are named; in the usage it is not required, since the variable does."""
    monkeypatch.delenv("EXACTO_URL", raising=False)
    assert main(verb) == 2
    assert "no proxy given: use --url PROXY or set EXACTO_URL" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([verb[0], "--help"])
    assert "[--url PROXY]" in capsys.readouterr().out


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, nobody there, no such host, no address: in words, and a store may answer instead."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = refusal(f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert "nothing listens at http://127.0.0.1:" in str(closed)
    assert closed.unreachable
    assert "ftp://x is no address of a proxy; write it like http://localhost:4000" in str(refusal("ftp://x"))
    monkeypatch.setenv("EXACTO_API_KEY", "sk-ü")
    assert "has a character that no key has" in str(refusal("http://127.0.0.1:9"))
    monkeypatch.delenv("EXACTO_API_KEY")
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    absent = refusal("http://127.0.0.1:9")
    assert str(absent) == "no key: set EXACTO_API_KEY to an admin key of http://127.0.0.1:9"
    assert absent.unreachable


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ConnectError("[Errno -2] Name or service not known"), "the name of the host is not known"),
        (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "is it https:// there"),
        (httpx.ReadTimeout("timed out"), "does not answer within 30 s"),
        (httpx.RemoteProtocolError("illegal status line"), "breaks off the connection"),
        (httpx.InvalidURL("Invalid port: 'x'"), "is no address"),
    ],
)
def test_faults_of_a_connection(error: Exception, told: str) -> None:
    """No name of a Python class among them."""
    words = _connection_words("http://proxy", error)
    assert told in words
    assert type(error).__name__ not in words
