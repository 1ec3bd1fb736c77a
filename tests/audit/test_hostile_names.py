"""Every verb with names that would control a terminal: what is printed is printable, and no name begins a line."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import yaml

from exacto_plugin.cli.command import main
from exacto_plugin.cli.source import StoreSource
from exacto_plugin.store.location import location_of_url
from exacto_plugin.terminal import json_text, printable, printable_data, write_text
from tests.audit.test_sentences import reason, view
from tests.cli.test_curate import deployment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.audit.conftest import Story

EVIL = (
    "wild/\x1b[2J\x1b]0;title\x07\x9b31m\u202egpj.\u2066\r\nFORGED all is well\x85FORGED\u2028FORGED\x7f\x00\b\ud800[b]"
)
"""Clears the screen, sets a title and a colour, reverses text, and begins lines."""
NAMES = ("g", "a", "b", "c", "d", "novita", "kimi")


def poisoned(value: Any) -> Any:
    """Plain data with every name, and every text that a person or a server wrote, replaced."""
    if isinstance(value, dict):
        free = {key: EVIL for key in ("reason", "message", "remedy") if isinstance(value.get(key), str)}
        return {poisoned(key): poisoned(one) for key, one in value.items()} | free
    if isinstance(value, list | tuple):
        return [poisoned(one) for one in value]
    return f"{value}{EVIL}" if value in NAMES and isinstance(value, str) else value


class Administration(BaseHTTPRequestHandler):
    """Answers like ``/exacto/api``, by the last part of the path."""

    answers: ClassVar[dict[str, tuple[int, Any]]] = {}

    def do_GET(self) -> None:
        """Answer."""
        status, content = self.answers[self.path.partition("?")[0].removeprefix("/exacto/api/").partition("/")[0]]
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a proxy whose names are all hostile."""
    with pytest.MonkeyPatch.context() as patched, ThreadingHTTPServer(("127.0.0.1", 0), Administration) as server:
        patched.setenv("EXACTO_API_KEY", "sk-x")
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _answers(story: Story) -> dict[str, Any]:
    """What a proxy with the story says."""
    store = StoreSource(location_of_url(story.url))
    tried = {"deployment": "d", "provider": "novita", "status": "answered", "verdict": "valid"}
    decision = {
        "id": "x", "model_group": "g", "suffixes": ["exacto"], "at": 1.0, "policy": "auto", "reason": "tiers",
        "candidates": [{"deployment": "d", "tier": "deranked", "in_pool": True, "reasons": []}],
        "attempts": [{**tried, "probe": False, "rescue": False}], "refusals": ["only"], "rescue_cost": None,
    }  # fmt: skip
    override = {"model_group": "g", "deployment": "d", "word": "good", "expires": story.now, "measured_tier": "good"}
    ill = {"state": "degraded", "message": "no room", "remedy": "free some"}
    answered = view("deranked", reason("below_threshold", "tool_call_success"), override={**override, "reason": "r"})
    return {
        "why": {"answers": [answered], "store": ill},
        "decisions": decision,
        "audit": store.audit(kinds=None, model_group=None, deployment=None, since=None, until=None, limit=200),
        "models": {"model_groups": [{"model_group": "g", "tool_keys": 9, "curated": ["d"], "deployments": [
            {**deployment("d"), "since": None, "override": {"reason": "r", "measured_tier": "deranked"}}
        ]}]},
        "status": {"store": ill},
        "report": store.report(story.broke - 3600, story.now, ()),
        "overrides": {"overrides": [override, {**override, "word": "reset"}], "kept": False},
    }  # fmt: skip


def _checked(text: str) -> str:
    """The text, which has nothing but printable lines that no name begins."""
    lines = text.split("\n")
    assert [line for line in lines if not line.isprintable()] == []
    assert [line for line in lines if line.lstrip("# │┃").startswith("FORGED")] == []
    return text


VERBS = (
    ("tiers",), ("why", "d"), ("why", "--request", "x"), ("audit",), ("report",), ("curate",), ("curate", "--check"),
    ("override", "d", "good", "--for", "1h", "--reason", "r"),
)  # fmt: skip


@pytest.mark.parametrize("arguments", VERBS, ids=lambda arguments: "-".join(arguments[:2]))
def test_verbs_that_ask_a_proxy(
    story: Story, url: str, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of models, deployments, callers and providers, and what people and the store wrote."""
    story.connection.rollback()
    Administration.answers = {path: (200, poisoned(found)) for path, found in _answers(story).items()}
    assert main([*arguments, "--url", url]) in (0, 1)
    assert "x1b" in "".join(_checked(capsys.readouterr().out).split())
    assert main([*arguments, "--url", url, "--json"]) in (0, 1)
    told = capsys.readouterr().out
    assert told.replace("\n", "").isprintable()
    assert told.isascii()
    assert any(EVIL in one for one in _strings(json.loads(told)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


@pytest.mark.parametrize("arguments", VERBS, ids=lambda arguments: "-".join(arguments[:2]))
@pytest.mark.parametrize(
    "answer", [(404, {"detail": EVIL}), (422, {"detail": [{"loc": ["body", EVIL], "msg": EVIL}]})], ids=["text", "list"]
)
def test_errors_of_a_server(
    url: str, arguments: tuple[str, ...], answer: tuple[int, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """What a server writes into its error."""
    paths = ("why", "decisions", "audit", "models", "status", "report", "overrides")
    Administration.answers = dict.fromkeys(paths, answer)
    assert main([*arguments, "--url", url]) == 2
    assert "\\x1b[2J" in _checked(capsys.readouterr().err)


def test_verbs_that_read_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration, a scenario and a log, with hostile names in them and as their own."""
    evil = EVIL.replace("\0", "").replace("\ud800", "").replace("/", "-")
    params = {"model": "openai/m", "api_base": "https://api.fast.ai/v1"}
    entry = {"model_name": evil, "litellm_params": params, "model_info": {"id": evil, "provider": evil}}
    block = {"curated": {evil: [evil], f"no {evil}": [evil]}}
    config = tmp_path / f"{evil}.yaml"
    config.write_text(yaml.safe_dump({"model_list": [entry, entry], "exacto_settings": block}), encoding="utf-8")
    log = tmp_path / f"{evil}.jsonl"
    sample = {"type": "sample", "model_group": evil, "deployment": evil, "tools_offered": True, "outcome": "valid"}
    lines = [{**sample, "at": 1767225630.2 + number, "routed": True} for number in range(50)]
    log.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    scenario = tmp_path / f"{evil}.scenario.yaml"
    scenario.write_text(f"# {evil}\ntitle: {json.dumps(evil)}\n", encoding="utf-8")
    broken = tmp_path / f"{evil}.broken.yaml"
    broken.write_text(f"exacto_settings: {json.dumps({evil: 1})}", encoding="utf-8")
    verbs = (
        ("check-config", str(config)), ("replay", str(log)), ("simulate", str(scenario)),
        ("check-config", str(broken)), ("simulate", "--show", str(scenario)), ("tiers", "--config", str(broken)),
        ("tiers", "--store", evil), ("why", "d", "--store", f"sqlite:///{tmp_path}/{evil}.sqlite"),
    )  # fmt: skip
    for arguments in verbs:
        main(list(arguments))
        told = capsys.readouterr()
        assert [line for line in f"{told.out}\n{told.err}".split("\n") if not line.isprintable()] == [], arguments


def test_unexpected_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback of an error that nobody foresaw holds its message."""

    def broken(*_arguments: Any, **_more: Any) -> Any:
        raise RuntimeError(EVIL)

    monkeypatch.setattr("exacto_plugin.cli.source.request_json", broken)
    assert main(["tiers", "--url", "http://proxy"]) == 1
    told = capsys.readouterr().err
    assert "RuntimeError: wild/\\x1b[2J" in told
    assert [line for line in told.split("\n") if not line.isprintable()] == []


def test_what_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what is not printable; newlines of a text stay, those of a name do not."""
    assert printable("kimi ü → 模型") == "kimi ü → 模型"
    assert printable("a\x1b\n\x85\u202e\u200b") == "a\\x1b\\n\\x85\\u202e\\u200b"
    assert printable_data({"a\n": ["b\t", 1, None, ("c",)]}) == {"a\\n": ["b\\t", 1, None, ["c"]]}
    assert json.loads(json_text({EVIL: EVIL})) == {EVIL: EVIL}
    write_text("a\tb\nc\r\x1b")
    assert capsys.readouterr().out == "a\tb\nc\\r\\x1b\n"
