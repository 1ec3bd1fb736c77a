"""Real clients on good answers: the same events, in the same order, as from LiteLLM alone.

Claude Code and Codex work through the plugin with rescue; the AI SDK, whose programs take the same way each time, asks
everything twice, and what it tells its program is compared as well.
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.clients.ai_sdk import asks, run_ai_sdk
from tests.clients.both_proxies import BothProxies, first_difference
from tests.clients.fleet import GROUPS, compared_configs, rates
from tests.clients.provider import TruthfulProviders
from tests.clients.sessions import Session, run_claude, run_codex, work_prompt
from tests.support.proxy.observation import api
from tests.support.proxy.proxy import MASTER_KEY, Proxy

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tests.clients.fleet import Group
    from tests.clients.install import Clients
    from tests.clients.sessions import Transcript

CORPUS: Final = Path(__file__).parents[1] / "data" / "odd_answers.jsonl"
TEXTS: Final = 48
"""Asked for on each surface of the AI SDK, with a whole one for each eight; their answers go through the corpus."""
_COMPACT: Final = "/compact"


def odd_texts() -> list[str]:
    """Return the texts of odd and good answers to an ordinary request."""
    rows = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    return [row["text"] for row in rows if set(row) == {"kind", "text"} and row["text"].strip()]


def compare_with_bare(options: argparse.Namespace, clients: Clients, folder: Path) -> Iterator[str]:
    """Run all clients and yield what came of it in lines; those that begin with ``FAULT`` are differences.

    Args:
        options: of the command.
        clients: the installed programs.
        folder: for what the run writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = odd_texts()
    with TruthfulProviders(rates(), folder / "requests.jsonl", options.seed, texts) as providers:
        bare, plugin = compared_configs(providers)
        chosen = options.interpreter
        with (
            Proxy(bare, folder / "bare", keys={}, interpreter=chosen) as one,
            Proxy(plugin, folder / "plugin", keys={}, interpreter=chosen) as other,
            BothProxies(one.base_url, other.base_url, providers) as both,
        ):
            yield from _programs(options, clients, folder, both)
            yield from _ai_sdk(options, clients, both)
            faults = api(other, "status").json().get("faults")
    if faults:
        yield f"FAULT errors of the plugin: {faults}"


def _programs(options: argparse.Namespace, clients: Clients, folder: Path, both: BothProxies) -> Iterator[str]:
    """Run Claude Code and Codex."""
    groups = [group for group in GROUPS if not options.group or group.name in options.group]
    with ThreadPoolExecutor(options.jobs) as pool:
        told = list(pool.map(lambda group: _session(group, options, clients, folder, both.base_url), groups))
    for client in ("claude", "codex"):
        output = [one for group, one in zip(groups, told, strict=True) if group.client == client]
        yield f"{client}: {len(output)} conversations, {sum(len(one.output) for one in output)} characters of output"
    yield from (f"client: {' '.join(error.split())[:160]}" for one in told for error in one.errors)
    yield from _result(both)


def _session(group: Group, options: argparse.Namespace, clients: Clients, folder: Path, url: str) -> Transcript:
    directory = folder / group.name
    turns = [work_prompt(options.calls, directory)] * options.turns
    if group.client == "claude":
        turns.insert(options.turns // 2, _COMPACT)
    session = Session(group.name, MASTER_KEY, turns, directory, url)
    return (run_claude if group.client == "claude" else run_codex)(session, clients)


def _ai_sdk(options: argparse.Namespace, clients: Clients, both: BothProxies) -> Iterator[str]:
    """Run the AI SDK with the answers of LiteLLM alone, and with those of the plugin."""
    wanted = list(asks(TEXTS, options.calls))
    got: list[list[dict[str, Any]]] = []
    for both.delivered in (0, 1):
        both.number = 0
        got.append(run_ai_sdk(clients.cache, both.base_url, MASTER_KEY, wanted))
    parts = sum(len(one["parts"]) for one in got[0])
    yield f"ai sdk: {len(wanted)} requests of a program, {parts} parts that it got, twice"
    errors: Counter[str] = Counter()
    for one, two in zip(*got, strict=True):
        where = f"ai sdk {one['surface']} {one['model']} {'streamed' if one['stream'] else 'whole'}"
        kinds, others = ([error.partition(":")[0] for error in each["errors"]] for each in (one, two))
        errors.update(f"{where}: {kind}" for kind in kinds)
        if kinds != others:
            yield f"FAULT {where}: errors {kinds} became {others}"
        found = first_difference(one["parts"], two["parts"])
        if found is not None:
            yield f"FAULT {where}: {found}"
    yield from (f"client: {error}, {count} times, with LiteLLM alone too" for error, count in errors.items())
    yield from _result(both)


def _result(both: BothProxies) -> Iterator[str]:
    """Yield what was compared since the last time."""
    yield from (f"  {name}: {count} compared" for name, count in sorted(both.compared.items()))
    yield from (f"FAULT {one}" for one in both.differences)
    both.compared.clear()
    both.differences.clear()
