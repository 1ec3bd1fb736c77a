"""``python -m tests.clients``: real clients, real proxies, and the truth; status 1 when a verdict is wrong."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.clients.fleet import GROUPS, Group, proxy_config, rates
from tests.clients.install import installed
from tests.clients.matrix import Matrix, by_truth, compared, samples_in, table
from tests.clients.provider import TruthfulProviders, markers_in
from tests.clients.same_as_bare import compare_with_bare
from tests.clients.sessions import Session, Transcript, run_claude, run_codex, work_prompt
from tests.clients.truth import BAD
from tests.support.proxy.observation import api
from tests.support.proxy.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.clients.install import Clients

_CACHE: Final = Path(__file__).parents[2] / ".clients"
_KEYS: Final = 4
"""Callers that the sessions are spread over."""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _session(group: Group, place: int, options: argparse.Namespace, folder: Path, url: str) -> Session:
    directory = folder / f"{group.name}-{place}"
    prompt = work_prompt(options.calls, directory)
    turns = [prompt] * options.turns
    if group.client == "claude":
        turns.insert(options.turns // 2, "/compact")
    return Session(group.name, f"sk-{place % _KEYS}", turns, directory, url)


def _run(options: argparse.Namespace, clients: Clients, folder: Path, *, rescue: bool) -> Matrix:
    """Run all sessions against one proxy and compare."""
    samples = folder / "samples"
    groups = [group for group in GROUPS if not options.group or group.name in options.group]
    folder.mkdir(parents=True, exist_ok=True)
    with TruthfulProviders(rates(), folder / "requests.jsonl", options.seed) as providers:
        config = proxy_config(providers, samples, rescue=rescue)
        keys = {f"sk-{place}": {"user_id": f"user-{place}"} for place in range(_KEYS)}
        with Proxy(config, folder / "proxy", keys=keys, interpreter=options.interpreter) as proxy:
            sessions = [
                (group, _session(group, place, options, folder, proxy.base_url))
                for place in range(options.sessions)
                for group in groups
            ]
            with ThreadPoolExecutor(options.jobs) as pool:
                told = list(pool.map(lambda pair: _one(pair[0], pair[1], clients), sessions))
            time.sleep(8 if not rescue else 1)  # two recomputes
            lines = [] if rescue else [line for group in groups for line in _tiers(proxy, group)]
            faults = api(proxy, "status").json().get("faults")
        time.sleep(0.5)
        delivered = providers.delivered.union(*(markers_in(one.output) for one in told))
        matrix = compared(providers.sent, samples_in(samples), delivered)
    matrix.faults += [f"a good deployment: {line}" for line in lines if "-good" in line and "deranked" in line]
    scenes = Counter(answer.detail for answer in providers.sent if answer.detail)
    lines += ["", f"tools: {', '.join(f'{name} {count}' for name, count in scenes.most_common())}"]
    _report(matrix, told, lines, rescue=rescue)
    if faults:
        matrix.faults.append(f"errors of the plugin: {faults}")
    return matrix


def _one(group: Group, session: Session, clients: Clients) -> Transcript:
    run = run_claude if group.client == "claude" else run_codex
    return run(session, clients)


def _tiers(proxy: Proxy, group: Group) -> list[str]:
    found = api(proxy, f"models/{group.name}").json().get("deployments", [])
    return [f"{one['deployment']:24} {one['tier']}" for one in sorted(found, key=lambda one: str(one["deployment"]))]


def _report(matrix: Matrix, told: Sequence[Transcript], tiers: Sequence[str], *, rescue: bool) -> None:
    number = sum(matrix.counts.values())
    bad = sum(count for (_, _, _, truth, _), count in matrix.counts.items() if truth in BAD)
    _say(f"\n== rescue {'on' if rescue else 'off'}: {number} answers, {bad} of them bad\n")
    for line in [*by_truth(matrix), "", *table(matrix)]:
        _say(line)
    _say("\nbad answers that are known to have reached the client (rescue cannot take back text that it has)")
    for truth, (reached, all_of_them) in sorted(matrix.delivered.items()):
        _say(f"{truth:16} {reached} of {all_of_them}")
    for line in ["", *tiers]:
        _say(line)
    for error in [error for one in told for error in one.errors]:
        _say(f"client: {' '.join(error.split())[:160]}")
    for fault in matrix.faults:
        _say(f"FAULT {fault}")


def _compared(options: argparse.Namespace, clients: Clients, folder: Path) -> int:
    """Compare good answers with those of LiteLLM alone, and return the number of differences."""
    _say("\n== good answers with rescue and with LiteLLM alone\n")
    faults = 0
    for line in compare_with_bare(options, clients, folder):
        _say(line)
        faults += line.startswith("FAULT")
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for and print what came of it."""
    parser = argparse.ArgumentParser(prog="make clients ARGS=", description=__doc__)
    parser.add_argument("--sessions", type=int, default=2, help="conversations with each model group (default: 2)")
    parser.add_argument("--turns", type=int, default=4, help="prompts of a conversation (default: 4)")
    parser.add_argument("--calls", type=int, default=9, help="tool calls for each prompt (default: 9)")
    parser.add_argument("--jobs", type=int, default=4, help="conversations at a time (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the bad answers (default: 0)")
    parser.add_argument("--group", action="append", help="only this model group")
    only = "only without or with rescue, or only the comparison of good answers with LiteLLM alone"
    parser.add_argument("--rescue", choices=("off", "on", "compared"), help=only)
    parser.add_argument("--cache", type=Path, default=_CACHE, help="folder of the clients (default: .clients)")
    parser.add_argument("--keep", type=Path, help="empty folder for everything that the run writes")
    parser.add_argument("--interpreter", type=Path, help="Python whose LiteLLM is run (default: this one)")
    options = parser.parse_args(arguments)
    clients = installed(options.cache)
    python = options.interpreter or sys.executable
    lister = "import importlib.metadata as m; print(m.version('litellm'))"
    litellm = subprocess.run([str(python), "-c", lister], capture_output=True, text=True, check=True).stdout.strip()
    _say(f"LiteLLM {litellm}, Python {platform.python_version()}, {', '.join(clients.versions)}")
    faults = 0
    for rescue in (False, True):
        if options.rescue in (None, "on" if rescue else "off"):
            with tempfile.TemporaryDirectory(prefix="exacto-clients-") as folder:
                kept = options.keep / str(rescue) if options.keep else Path(folder)
                faults += len(_run(options, clients, kept, rescue=rescue).faults)
    if options.rescue in (None, "compared"):
        with tempfile.TemporaryDirectory(prefix="exacto-clients-") as folder:
            faults += _compared(options, clients, options.keep / "compared" if options.keep else Path(folder))
    _say(f"\n{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
