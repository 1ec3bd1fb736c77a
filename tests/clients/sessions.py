"""Runs the clients without a terminal: fresh home, loopback only, no telemetry, no updates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from tests.clients.repertoire import LONG_SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.clients.install import Clients

_TURN_S: Final = 240.0
"""Longest wait for one turn; only a hanging client takes as long."""

_MCP_SERVER: Final = Path(__file__).with_name("mcp_server.py")


@dataclass(slots=True)
class Transcript:
    """The output of one client."""

    output: str = ""
    errors: list[str] = field(default_factory=list)
    """What went wrong, beside bad answers."""


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation.

    Args:
        model: its model group.
        key: of the proxy.
        turns: prompts, in their order.
        directory: an empty folder of its own; it has the home of the client and its work.
        url: of the proxy.
    """

    model: str
    key: str
    turns: Sequence[str]
    directory: Path
    url: str

    def folders(self) -> tuple[Path, Path]:
        """Create home and work folder and return them."""
        home, work = self.directory / "home", self.directory / "work"
        home.mkdir(parents=True)
        work.mkdir()
        (work / "notes.txt").write_text("nothing\n")
        return home, work


def work_prompt(calls: int, directory: Path) -> str:
    """Return a prompt that the providers' script reads."""
    return f"calls={calls} dir={directory / 'work'} please"


def _environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    kept = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TMPDIR": str(home)}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost", **more}


def run_claude(session: Session, clients: Clients) -> Transcript:
    """Run Claude Code with all prompts in one process, ``/compact`` among them."""
    home, work = session.folders()
    server = {"command": sys.executable, "args": [str(_MCP_SERVER)]}
    tools = session.directory / "mcp.json"
    tools.write_text(json.dumps({"mcpServers": {LONG_SERVER: server}}))
    model = session.model
    environment = _environment(
        home,
        {
            "ANTHROPIC_BASE_URL": session.url,
            "ANTHROPIC_AUTH_TOKEN": session.key,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
            "ANTHROPIC_DEFAULT_SONNET_MODEL": model,
            "ANTHROPIC_DEFAULT_OPUS_MODEL": model,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "IS_SANDBOX": "1",
        },
    )
    command = [
        str(clients.claude), "-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
        "--dangerously-skip-permissions", "--model", model, "--mcp-config", str(tools), "--strict-mcp-config",
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(session.directory / "stderr.txt").open("w"),
        env=environment,
        cwd=work,
        text=True,
    ) as process:
        watch = threading.Timer(_TURN_S * len(session.turns), process.kill)
        watch.start()
        try:
            return _converse(process, session)
        finally:
            watch.cancel()
            process.kill()


def _converse(process: subprocess.Popen[str], session: Session) -> Transcript:
    told = Transcript()
    assert process.stdin is not None
    assert process.stdout is not None
    for turn in session.turns:
        message = {"role": "user", "content": turn}
        process.stdin.write(json.dumps({"type": "user", "message": message}) + "\n")
        process.stdin.flush()
        result = _until_result(process.stdout, told)
        if result is None:
            told.errors.append(f"{session.model}: no result for {turn[:30]!r}")
            break
        if result.get("is_error"):
            told.errors.append(f"{session.model}: {str(result.get('result'))[:200]}")
    process.stdin.close()
    return told


def _until_result(output: IO[str], told: Transcript) -> dict[str, Any] | None:
    for line in output:
        told.output += line
        event = _event(line)
        if event.get("type") == "result":
            return event
    return None


_CODEX: Final = """\
model = "{model}"
model_provider = "loopback"
check_for_update_on_startup = false
[model_providers.loopback]
name = "loopback"
base_url = "{url}/v1"
env_key = "LOOPBACK_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
[mcp_servers.{server}]
command = "{python}"
args = ["{script}"]
"""


def run_codex(session: Session, clients: Clients) -> Transcript:
    """Run Codex once for each prompt; the later ones resume the conversation."""
    home, work = session.folders()
    settings = home / ".codex" / "config.toml"
    settings.parent.mkdir()
    settings.write_text(
        _CODEX.format(
            model=session.model, url=session.url, server=LONG_SERVER, python=sys.executable, script=_MCP_SERVER
        )
    )
    told = Transcript()
    for place, turn in enumerate(session.turns):
        resumed = ["resume", "--last"] if place else []
        command = [
            str(clients.codex), "exec", *resumed, "--json", "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox", turn,
        ]  # fmt: skip
        environment = _environment(home, {"LOOPBACK_KEY": session.key, "RUST_LOG": "error"})
        try:
            done = subprocess.run(
                command,
                env=environment,
                cwd=work,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TURN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            told.errors.append(f"{session.model}: no end of {turn[:30]!r}")
            continue
        told.output += done.stdout
        (session.directory / f"stderr{place}.txt").write_text(done.stderr)
        if done.returncode:
            told.errors.append(f"{session.model}: status {done.returncode}: {_reason(done.stdout)}")
    return told


def _reason(output: str) -> str:
    """Return the message of the last error that Codex reported."""
    found = [
        str(event.get("message")) for line in output.splitlines() if (event := _event(line)).get("type") == "error"
    ]
    return found[-1] if found else "no reason"


def _event(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
