"""What the plugin adds to a request that LiteLLM refuses for its key: CPU of two real proxies, with and without it.

Anybody can send such a request, so that this is the bill of an attacker without any key. Each body goes to both proxies
in turns; what counts is user plus system time of the proxy's process. ``added/bare`` is at most 1 where such a request
costs at most twice as much as without the plugin.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import psutil
import yaml

from benchmarks.end_to_end import KEY, proxy_config
from benchmarks.own_request import tools
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.demo.proxy import DemoProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROUNDS = 5
SUFFIXES = (":exacto", ":floor", ":nitro")
WILDCARDS = ("wild/*", "other/*-x", "*/kimi-*", "third/*")
MEGABYTE = 1_000_000


class Case(NamedTuple):
    """One body, sent ``times`` in a row to each proxy in each round."""

    title: str
    body: bytes
    times: int


def _names(length: int, count: int, kind: str) -> list[str]:
    return [f"{kind}{number:04d}".ljust(length, "x") + "".join(2 * SUFFIXES) for number in range(count)]


def _listed(length: int, **more: Any) -> dict[str, Any]:
    """A request with 32 ``models`` and 32 ``fallbacks``, all of them unknown names with six suffixes."""
    lists = {"models": _names(length, 32, "m"), "fallbacks": _names(length, 32, "f")}
    return {"model": _names(length, 1, "a")[0], **lists, "messages": [{"role": "user", "content": "x"}], **more}


def _text(size: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "words " * 50} for _ in range(size // 330)]


def _many_names(size: int) -> list[str]:
    return [f"n{number:07d}:exacto" for number in range(size // 20)]


def _nested(depth: int, copies: int) -> list[Any]:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return [value] * copies


def bodies() -> dict[str, Callable[[], dict[str, Any]]]:
    """Title to the request."""
    slug = "kimi:exacto"
    found: dict[str, Callable[[], dict[str, Any]]] = {
        "small": lambda: {"model": "kimi", "messages": _text(400)},
        "small, one suffix": lambda: {"model": slug, "messages": _text(400)},
        "64 names of 10": lambda: _listed(10),
        "64 names of 1,000": lambda: _listed(1000),
        "64 wildcard names": lambda: _wild(10),
        "64 wildcard names of 1,000": lambda: _wild(1000),
        "32 models, partition none": lambda: _ranked("kimi"),
        "32 wildcards, partition none": lambda: _ranked("wild/x"),
        "32 names in model": lambda: {"model": ",".join(_names(10, 32, "c")), "messages": _text(400)},
        "64 fallbacks as maps": lambda: {**_listed(10), "fallbacks": [{"g": _names(10, 32, "f")}]},
    }
    found["1.9 MB provider, partition none"] = lambda: {
        **_ranked("kimi"), "provider": {"sort": {"by": "price", "partition": "none"}, "only": _many_names(1_900_000)}
    }  # fmt: skip
    for size in (70_000, 1_900_000, 18 * MEGABYTE):
        found |= _of_size(size)
    return found


def _of_size(size: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Title to the request, of about ``size`` bytes."""
    slug = "kimi:exacto"
    shown = f"{size // 1000} kB" if size < MEGABYTE else f"{size / MEGABYTE:g} MB"
    return {
        f"{shown} of messages": lambda: {"model": slug, "messages": _text(size)},
        f"{shown} of tools": lambda: {"model": slug, "tools": tools(size // 700), "messages": _text(400)},
        f"{shown} of models": lambda: {"model": slug, "models": _many_names(size)},
        f"{shown} of fallbacks": lambda: {"model": slug, "fallbacks": _many_names(size)},
        f"{shown} of fallback maps": lambda: {
            "model": slug, "fallbacks": [{"model": name, "provider": {}} for name in _many_names(size // 3)]
        },
        f"{shown} in model": lambda: {"model": "x:exacto" * (size // 8), "messages": _text(400)},
        f"{shown} of commas in model": lambda: {"model": "a," * (size // 2) + slug},
        f"{shown} in 64 names": lambda: _listed(size // 65),
        f"{shown} in provider": lambda: {"model": slug, "provider": {"only": _many_names(size)}},
        f"{shown} nested": lambda: {"model": slug, "messages": _nested(200, size // 400)},
        f"{shown} of keys": lambda: {"model": slug, **dict.fromkeys(_many_names(size), 1)},
    }  # fmt: skip


def _ranked(name: str) -> dict[str, Any]:
    names = [f"{name}{end}" for end in _endings(32)]
    return {"models": names, "provider": {"sort": {"by": "price", "partition": "none"}}, "messages": _text(400)}


def _endings(count: int) -> list[str]:
    return ["".join(chosen) for length in (1, 2, 3) for chosen in product(SUFFIXES, repeat=length)][:count]


def _wild(length: int) -> dict[str, Any]:
    listed = _listed(length)
    lists = {key: [f"wild/{name}" for name in listed[key]] for key in ("models", "fallbacks")}
    return {**listed, **lists, "model": f"wild/{listed['model']}"}


def cases(chosen: Sequence[str]) -> Iterator[Case]:
    """The cases whose titles hold one of some words; all of them without."""
    for title, build in bodies().items():
        if not chosen or any(word in title for word in chosen):
            body = json.dumps(build()).encode()
            yield Case(title, body, max(1, min(10, 2 * MEGABYTE // len(body))))


def config(providers: SimulatedProviders, *, plugin: bool) -> Mapping[str, Any]:
    """One model of four deployments, and four wildcards."""
    made = proxy_config(providers, plugin=plugin)
    params = {"model": "openai/*", "api_base": providers.api_base("p0"), "api_key": "x"}
    wild = [{"model_name": name, "litellm_params": params} for name in WILDCARDS]
    return {**made, "model_list": [*made["model_list"], *wild]}


def _spent(client: httpx.Client, process: psutil.Process, case: Case) -> float:
    """Milliseconds of CPU per request."""
    before = process.cpu_times()
    for _ in range(case.times):
        answer = client.post("/v1/chat/completions", content=case.body, timeout=300.0)
        if answer.status_code not in {400, 401}:
            raise RuntimeError(f"{case.title}: {answer.status_code} {answer.text[:200]}")
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) * 1000 / case.times


def compare(chosen: Sequence[str]) -> list[str]:
    """The table."""
    lines = [
        f"{'ms of CPU per request with a wrong key':<40}{'body':>10}{'bare':>9}{'plugin':>9}{'added':>9}{'ratio':>8}"
    ]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exacto-bench-")))
        providers = stack.enter_context(SimulatedProviders())
        sides = []
        for plugin in (False, True):
            folder = root / str(plugin)
            folder.mkdir()
            (folder / "config.yaml").write_text(yaml.safe_dump(config(providers, plugin=plugin)), encoding="utf-8")
            proxy = stack.enter_context(
                DemoProxy(folder / "config.yaml", {**os.environ, "LITELLM_MASTER_KEY": KEY, "LITELLM_LOG": "CRITICAL"})
            )
            headers = {"Authorization": "Bearer sk-wrong", "Content-Type": "application/json"}
            client = httpx.Client(base_url=proxy.base_url, headers=headers, trust_env=False)
            sides.append((stack.enter_context(client), psutil.Process(proxy.pid)))
        for case in cases(chosen):
            rounds = ROUNDS if len(case.body) < MEGABYTE else 2
            spent = [[_spent(*side, case) for side in sides] for _ in range(rounds + 1)][1:]
            bare, with_plugin = (statistics.mean(column) for column in zip(*spent, strict=True))
            added = with_plugin - bare
            figures = f"{len(case.body) / 1000:8.0f}kB{bare:9.2f}{with_plugin:9.2f}{added:9.2f}{added / bare:8.2f}"
            lines.append(f"{case.title:<40}{figures}")
            sys.stderr.write(f"{lines[-1]}\n")
    return lines


if __name__ == "__main__":
    sys.stdout.write("\n".join(compare(sys.argv[1:])) + "\n")
