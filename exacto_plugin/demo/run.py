"""``exacto demo``: simulated providers and a real proxy, observed, then applied.

The providers' error rates are those that MoonshotAI's K2 Vendor Verifier measured on 2025-11-15; their prices are
invented. Bad calls are counted on the client's side, from the answers that were delivered.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from rich.console import Console
from rich.progress import Progress

from exacto_plugin.core.model import Outcome, Tier
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.core.scoring.evaluator import Evaluator, worst
from exacto_plugin.demo.k2vv import table
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.demo.proxy import DemoProxy
from exacto_plugin.demo.result import DemoCounts, conclusion, picture
from exacto_plugin.errors import ExactoError
from exacto_plugin.text_tables import PlainTable, colored, heading, terminal_width

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP = "moonshotai/kimi-k2-0905"
KEY = "sk-exacto-demo"
REQUESTS_PER_PROVIDER = 70
"""Enough for a verdict from 40 requests each, though the proxy picks randomly."""
APPLIED_REQUESTS = 500
INTERVAL_S = 2.0
_ENGINES = frozenset({"vLLM", "SGLang"})
"""Rows of the table that are inference engines, not providers."""
_CURATED = ("moonshotai", "moonshot-ai-turbo", "fireworks")
_TIERS = (Tier.VERIFIED_GOOD, Tier.INSUFFICIENT_DATA, Tier.DERANKED)
"""The order in which deployments are tried."""
_SOURCE = (
    "Simulated providers with the error rates that MoonshotAI's K2 Vendor Verifier measured on 2025-11-15."
    " Made by `exacto demo --plot FILE.svg`."
)
_UNREAL = (
    f"Error rates are measured ones, prices invented. Verdicts come every {INTERVAL_S:g} seconds instead of every 5"
    " minutes, the default."
)
_COLUMNS = (
    "judged: calls behind the verdict; before, after: the provider's share of the answers in observe and in apply."
)
_CONSOLE = Console(highlight=False, width=terminal_width())

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "book_table",
            "description": "Book a table in a restaurant.",
            "parameters": {
                "type": "object",
                "properties": {
                    "restaurant": {"type": "string"},
                    "guests": {"type": "integer", "minimum": 1},
                    "when": {"type": "string"},
                },
                "required": ["restaurant", "guests", "when"],
                "additionalProperties": False,
            },
        },
    }
]


def run_demo(*, keep: bool = False, port: int = 0, plot: Path | None = None) -> int:
    """Run the demonstration; return the exit status.

    Args:
        keep: leave the proxy running until it is interrupted.
        port: of the proxy; 0: a free one.
        plot: the file of a picture; None: none is drawn.

    Raises:
        ExactoError: the picture cannot be written.
    """
    if plot is not None:
        _write(plot, "")  # before two minutes have passed
    for ending in (signal.SIGTERM, signal.SIGHUP):  # the proxy has a session of its own, and would keep running
        signal.signal(ending, signal.default_int_handler)
    vendors = [vendor for vendor in table() if vendor.name not in _ENGINES]
    behaviours = {vendor.slug: vendor.behaviour(seed=1) for vendor in vendors}
    with tempfile.TemporaryDirectory(prefix="exacto-demo-") as directory, SimulatedProviders(behaviours) as providers:
        root = Path(directory)
        settings = root / "exacto.yaml"
        _write_settings(settings, "observe")
        (root / "config.yaml").write_text(yaml.safe_dump(_config(providers, list(behaviours))), encoding="utf-8")
        own = {"LITELLM_MASTER_KEY": KEY, "EXACTO_CONFIG": str(settings), "XDG_STATE_HOME": str(root / "state")}
        environment = {**os.environ, **own}
        _CONSOLE.print(f"Starting a LiteLLM proxy with {len(vendors)} simulated providers of {GROUP} ...")
        _CONSOLE.print(_UNREAL)
        with DemoProxy(root / "config.yaml", environment, port) as proxy:
            return _show(proxy, settings, len(vendors), keep=keep, plot=plot)


def _show(proxy: DemoProxy, settings: Path, providers: int, *, keep: bool, plot: Path | None) -> int:
    with Progress(console=_CONSOLE) as progress:
        observed = _drive(
            proxy.base_url, progress, "observe: tiers are decided, none applied", providers * REQUESTS_PER_PROVIDER
        )
        _write_settings(settings, "apply")
        time.sleep(2 * INTERVAL_S)
        applied = _drive(proxy.base_url, progress, "apply: requests with tools follow the tiers", APPLIED_REQUESTS)
    group = _get(proxy.base_url, f"/exacto/api/models/{GROUP}")
    deployments = sorted(group["deployments"], key=lambda d: (_TIERS.index(d["tier"]), d["provider"]))
    told = conclusion(observed, applied)
    _CONSOLE.print(heading(f"{GROUP}: the providers' tiers, and where requests went"))
    _CONSOLE.print(_tier_table(deployments, observed, applied))
    _CONSOLE.print(_COLUMNS)
    _CONSOLE.print(heading("Bad tool calls delivered to the client"))
    _CONSOLE.print(_outcome_table(observed, applied))
    worst = next((one["provider"] for one in reversed(deployments)), "")
    _CONSOLE.print(_things_to_try(proxy.base_url, worst, keep=keep), markup=False, soft_wrap=True)
    if plot is not None:
        tiers = {one["provider"]: one["tier"].replace("_", " ") for one in deployments}
        _write(plot, picture(told, _SOURCE, observed, applied, tiers))
        _CONSOLE.print(f"The picture is {plot}.", markup=False)
    _CONSOLE.print(f"\n{told}", style="bold")
    if keep:
        _CONSOLE.print("The proxy is running; Ctrl-C stops it.")
        try:
            proxy.wait()
        except KeyboardInterrupt:
            _CONSOLE.print("stopped")
    return 0 if applied.total and not applied.failed else 1


def _write_settings(path: Path, mode: str) -> None:
    block = {
        "mode": mode,
        "curated": {GROUP: list(_CURATED)},
        # The default rule; recomputes every 2 seconds instead of every 5 minutes, so that a minute shows them.
        "tiers": {"recompute_interval_s": INTERVAL_S},
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump({"exacto_settings": block}), encoding="utf-8")
    fresh.replace(path)


def _config(providers: SimulatedProviders, names: list[str]) -> dict[str, Any]:
    models = [
        {
            "model_name": GROUP,
            "litellm_params": {
                "model": "openai/kimi-k2-0905",
                "api_base": providers.api_base(name),
                "api_key": "simulated",
                "input_cost_per_token": (0.4 + 0.05 * number) / 1e6,
                "output_cost_per_token": (2.0 + 0.1 * number) / 1e6,
            },
            "model_info": {"id": name, "provider": name},
        }
        for number, name in enumerate(names)
    ]
    return {
        "model_list": models,
        "litellm_settings": {"callbacks": ["exacto_plugin.callback"]},
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


def _write(plot: Path, text: str) -> None:
    try:
        plot.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExactoError(f"--plot {plot}: cannot be written: {error.strerror}") from None


def _drive(base_url: str, progress: Progress, title: str, requests: int) -> DemoCounts:
    tally, evaluator = DemoCounts(), Evaluator()
    task = progress.add_task(title, total=requests)
    with (
        httpx.Client(base_url=base_url, headers=_headers(), timeout=60.0, trust_env=False) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        for answer in pool.map(lambda number: _ask(client, number), range(requests)):
            progress.advance(task)
            if answer.status_code != 200:
                tally.failed += 1
                continue
            calls = answer.json()["choices"][0]["message"].get("tool_calls") or []
            judged = evaluator.evaluate_all(
                [ToolCall(call["function"]["name"], call["function"]["arguments"]) for call in calls], TOOLS
            )
            provider = answer.headers.get("x-exacto-provider", "?")
            spend = float(answer.headers.get("x-litellm-response-cost") or 0.0)
            tally.add(provider, worst(judged) or Outcome.UNSCORED, spend)
    return tally


def _ask(client: httpx.Client, number: int) -> httpx.Response:
    message = {"role": "user", "content": f"Book a table for {number % 7 + 1} at the harbour, request {number}."}
    return client.post("/v1/chat/completions", json={"model": GROUP, "messages": [message], "tools": TOOLS})


def _get(base_url: str, path: str) -> dict[str, Any]:
    answer = httpx.get(base_url + path, headers=_headers(), timeout=30.0, trust_env=False)
    return dict(answer.raise_for_status().json())


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}"}


def _tier_table(deployments: Sequence[dict[str, Any]], observed: DemoCounts, applied: DemoCounts) -> PlainTable:
    table = PlainTable()
    table.add_column("provider", overflow="fold")
    table.add_column("tier", no_wrap=True)
    for column in ("success", "threshold", "judged", "before", "after"):
        table.add_column(column, justify="right", no_wrap=True)
    for deployment in deployments:
        signal = deployment["signals"].get("tool_call_success", {"value": None, "samples": 0})
        limits = (r["threshold"] for r in deployment["reasons"] if r["signal"] == "tool_call_success")
        name, tier = deployment["provider"], deployment["tier"]
        table.add_row(
            name,
            colored(tier.replace("_", " "), {"verified_good": "green", "deranked": "red"}.get(tier, "yellow")),
            _percent(signal["value"]),
            _percent(next(limits, None)),
            str(signal["samples"]),
            f"{observed.providers[name] / max(1, observed.total):.1%}",
            f"{applied.providers[name] / max(1, applied.total):.1%}",
        )
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _outcome_table(observed: DemoCounts, applied: DemoCounts) -> PlainTable:
    table = PlainTable()
    for column in ("", "answers", "bad calls", "share", "failed", "USD a 1,000"):
        table.add_column(column, justify="right" if column else "left")
    for name, tally in (("before (observe)", observed), ("after (apply)", applied)):
        cells = [tally.total, tally.bad, f"{tally.bad_share:.2%}", tally.failed, f"{1000 * tally.spend_each:.3f}"]
        table.add_row(name, *map(str, cells))
    return table


def _things_to_try(base_url: str, worst_provider: str, *, keep: bool) -> str:
    exacto = "exacto" if shutil.which("exacto") else f"{sys.executable} -m exacto_plugin"
    body = {"model": f"{GROUP}:exacto", "messages": [{"role": "user", "content": "Book a table."}], "tools": TOOLS}
    lead = "To try" if keep else "To try (start with --keep, or `make demo ARGS=--keep`, to leave the proxy running)"
    return "\n".join(
        (
            "",
            f"{lead}:",
            f"export EXACTO_URL={base_url} EXACTO_API_KEY={KEY}",
            f"{exacto} tiers",
            f"{exacto} why {worst_provider}",
            f"{exacto} report",
            f"{exacto} audit --limit 10",
            f"curl -si {base_url}/v1/chat/completions -H 'Authorization: Bearer {KEY}' \\",
            f"  -H 'Content-Type: application/json' -d '{json.dumps(body)}' | grep -i '^x-exacto'",
        )
    )
