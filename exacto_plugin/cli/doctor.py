"""``exacto doctor``: checks of a running proxy, and the next verdicts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from exacto_plugin._version import __version__
from exacto_plugin.audit.formatting import duration, percent
from exacto_plugin.audit.names import display_names
from exacto_plugin.cli.arguments import add_examples
from exacto_plugin.cli.proxy_client import KEYS, ProxyError, add_url, api_key, base_url, request_json
from exacto_plugin.cli.tiers import short_reason, tier_word
from exacto_plugin.core.model import ReasonCode, Signal, Tier
from exacto_plugin.terminal import json_text, printable_data, write_text
from exacto_plugin.text_tables import PlainTable, colored, heading, terminal_width, wrapped, write_tables

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

Plain = Mapping[str, Any]

_LEAST_AGE_S: Final = 30.0
"""Seconds of measuring from which on a rate of answers says something."""


_GAPS: Final = 4
"""Columns between the three columns of the table."""
_LEAST_WIDTH: Final = 20


class Finding(NamedTuple):
    """The result of one check."""

    name: str
    state: str
    """``ok``, ``note`` or ``problem``."""
    text: str


_COLORS: Final = {"ok": "green", "note": "yellow", "problem": "red"}


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_examples(parser, "exacto doctor --url http://localhost:4000", "EXACTO_URL=http://localhost:4000 exacto doctor")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask the proxy and print; return 1 when there is a problem."""
    url = base_url(options.url)
    key = "set" if api_key() else f"not set: set {' or '.join(KEYS)} to an admin key"
    findings = [Finding("key", "ok" if api_key() else "problem", key)]
    progress: list[Plain] = []
    try:
        status, models = request_json(url, "status"), request_json(url, "models")
    except ProxyError as error:
        if api_key():
            findings.append(Finding("proxy", "problem", str(error)))
    else:
        now = time.time()
        findings += [Finding("proxy", "ok", f"{url} answers"), *_findings(status, models, now)]
        progress = [_progress(group, models, now) for group in _group_names(models)]
    if options.json:
        write_text(json_text({"findings": [one._asdict() for one in findings], "model_groups": progress}))
    else:
        write_tables(*_rendered(printable_data([list(one) for one in findings]), printable_data(progress)))
    return 1 if any(one.state == "problem" for one in findings) else 0


def _findings(status: Plain, models: Plain, now: float) -> list[Finding]:
    checks: Sequence[Callable[[Plain], Finding]] = (_versions, _mode, _settings, _store, _sharing, _features, _metrics)
    return [*(check(status) for check in checks), _scoring(status), _faults(status), _recompute(status, models, now)]


def _versions(status: Plain) -> Finding:
    there, litellm = status.get("version"), status.get("litellm")
    if there is None:
        return Finding("versions", "note", f"exacto_plugin {__version__} here; the proxy does not tell its own")
    text = f"exacto_plugin {there} with LiteLLM {litellm} there"
    return (
        Finding("versions", "ok", text)
        if there == __version__
        else Finding("versions", "note", f"{text}; {__version__} here")
    )


def _mode(status: Plain) -> Finding:
    state = "ok" if status["mode"] == "apply" else "note"
    words = {"observe": "; tiers are decided and not applied", "off": "; no tiers"}.get(status["mode"], "")
    share = status.get("apply_share", 1.0)
    if status["mode"] == "apply" and share < 1:
        state, words = "note", f"; tiers apply to {percent(share)} of the conversations (apply_share)"
    return Finding("mode", state, f"{status['mode']}, preset {status['preset']}{words}")


def _settings(status: Plain) -> Finding:
    problem = (status.get("settings") or {}).get("problem")
    if problem:
        return Finding("settings", "problem", f"{problem}; until that is mended the settings before it stay in force")
    if warnings := (status.get("settings") or {}).get("warnings"):
        return Finding("settings", "problem", " / ".join(warnings))
    return Finding("settings", "ok", "as in the file")


def _store(status: Plain) -> Finding:
    store = status["store"]
    if store["state"] == "ok":
        return Finding("store", "ok", str(store["place"]))
    if store["state"] in ("memory", "off"):
        return Finding("store", "note", "in memory: records end with the proxy; set store.url")
    return Finding("store", "problem", f"{store['message']}; {store['remedy']}")


def _sharing(status: Plain) -> Finding:
    sharing = status["sharing"]
    role, exchange = sharing["role"], sharing.get("exchange")
    if exchange is None and status["store"]["state"] == "ok":  # found by the first step after the start
        return Finding("sharing", "note", "this process has a store and has not begun to share: ask again in seconds")
    if exchange is None:
        return Finding("sharing", "note", "this process shares nothing: set store.url or redis.url for several workers")
    workers = sharing.get("workers")
    number = workers if isinstance(workers, int) else len(workers or ())
    many = f", {number} worker{'' if number == 1 else 's'} at the last verdicts" if number else ""
    state = "problem" if role == "local" else "ok"
    away = "; it does not answer, so every worker judges by itself" if role == "local" else ""
    return Finding("sharing", state, f"{role} through {exchange}{many}{away}")


def _features(status: Plain) -> Finding:
    off = [f"{name}: {one['reason']}; {one['remedy']}" for name, one in status["features"].items() if not one["on"]]
    return Finding("features", "note", " / ".join(off)) if off else Finding("features", "ok", "all on")


def _metrics(status: Plain) -> Finding:
    found = status.get("metrics")
    if found is None:
        return Finding("metrics", "note", "the proxy does not tell")
    if not found:
        # A proxy of an earlier version does not tell whether the module is there.
        first = "" if status.get("prometheus_client") else "pip install prometheus_client beside the proxy, then "
        hint = f"{first}add prometheus to litellm_settings.callbacks; or set OpenTelemetry up"
        return Finding("metrics", "note", f"not exported: {hint}")
    return Finding("metrics", "ok", ", ".join(found))


def _scoring(status: Plain) -> Finding:
    left = status.get("answers_with_tools") or {}
    text = ", ".join(
        f"{name}: {one['scored']} of {one['left']}" for name, one in left.items() if isinstance(one, Mapping)
    )
    return Finding("answers", "ok", f"scored since the start ({text})" if text else "none with tools yet")


def _faults(status: Plain) -> Finding:
    faults = {stage: count for stage, count in status["faults"].items() if count}
    if not faults:
        return Finding("faults", "ok", "none of the plugin's own")
    text = ", ".join(f"{stage} {count}" for stage, count in faults.items())
    return Finding("faults", "problem", f"{text}; the log has the cause of each, once a minute")


def _recompute(status: Plain, models: Plain, now: float) -> Finding:
    due, interval = models.get("next_recompute_at"), status["recompute_interval_s"]
    following = "" if due is None else f"; the next is due {'now' if due <= now else f'in {duration(due - now)}'}"
    if not models["at"]:
        return Finding("verdicts", "note", f"no recompute yet{following}")
    age = now - models["at"]
    state = "ok"
    if age > 3 * interval:
        # Old ones with the next ahead are those of before a restart; a recompute that fails is among the faults.
        state = "note" if due is not None and due > now else "problem"
    return Finding("verdicts", state, f"made {duration(age)} ago{following}")


def _group_names(models: Plain) -> list[str]:
    names = [group["model_group"] for group in models["model_groups"]]
    return sorted(dict.fromkeys([*names, *(one["model_group"] for one in models.get("waiting", ()))]))


def _progress(model_group: str, models: Plain, now: float) -> dict[str, Any]:
    """Return the deployments of a model group with what each still needs."""
    judged = [
        one for group in models["model_groups"] if group["model_group"] == model_group for one in group["deployments"]
    ]
    due = models.get("next_recompute_at")
    waiting = [one["deployment"] for one in models.get("waiting", ()) if one["model_group"] == model_group]
    deployments = [
        {
            "deployment": one["deployment"],
            "tier": one["tier"],
            "override": bool(one.get("override")),
            "why": short_reason(one),
            **_needs(one, due, now),
        }
        for one in judged
    ]
    # Answers are counted all the time, but read by a recompute only.
    when = "" if due is None else f"; the first is due {'now' if due <= now else f'in {duration(due - now)}'}"
    why = f"no verdict yet{when}"
    unknown = dict.fromkeys(("samples", "needed", "measured_s", "verdict_in_s"))
    first = {"tier": Tier.INSUFFICIENT_DATA.value, "override": False, "why": why, **unknown}
    deployments += [{"deployment": name, **first} for name in waiting]
    return {"model_group": model_group, "deployments": deployments}


def _needs(one: Plain, due: float | None, now: float) -> dict[str, Any]:
    """Return answers so far and needed, and the seconds until a verdict at this rate.

    The verdict is made at the first recompute after the last answer that it needs. The rate is that since the tier
    began; a deployment without traffic gets no verdict, however long it waits.
    """
    calls = (one["signals"].get(Signal.TOOL_CALL_SUCCESS) or {"samples": 0})["samples"]
    few = next((r for r in one["reasons"] if r["code"] == ReasonCode.TOO_FEW_SAMPLES), None)
    if few is None or few["signal"] != Signal.TOOL_CALL_SUCCESS:
        return {"samples": calls, "needed": None, "measured_s": None, "verdict_in_s": None}
    measured = min(now - one["since"] if one["since"] else 0.0, few["window_s"] or float("inf"))
    rate = few["samples"] / measured if measured >= _LEAST_AGE_S else 0.0
    left = max(0.0, few["needed"] - few["samples"])
    wait = left / rate if rate else None
    if wait is not None and due is not None:
        wait = max(wait, due - now)
    return {"samples": few["samples"], "needed": few["needed"], "measured_s": measured, "verdict_in_s": wait}


def _rendered(findings: Sequence[Sequence[str]], progress: Sequence[Plain]) -> list[RenderableType]:
    table = PlainTable()
    for name in ("", "check", "found"):
        table.add_column(name, overflow="fold")
    beside = sum(max((len(finding[column]) for finding in findings), default=0) for column in (0, 1))
    width = max(_LEAST_WIDTH, terminal_width() - beside - _GAPS)
    for name, state, text in findings:
        table.add_row(colored(state, _COLORS[state]), name, wrapped(text, width))
    parts: list[RenderableType] = [table, ""]
    for group in progress:
        shown = display_names([one["deployment"] for one in group["deployments"]])
        rows = PlainTable()
        for name in ("deployment", "answers with tool calls"):
            rows.add_column(name, overflow="fold")
        for one in group["deployments"]:
            rows.add_row(shown[one["deployment"]], _wait(one))
        parts += [heading(group["model_group"]), rows, ""]
    return parts


def _wait(one: Plain) -> str:
    if one["samples"] is None:
        return str(one["why"])
    if one["tier"] != Tier.INSUFFICIENT_DATA:
        return f"{one['samples']:,.0f}; {tier_word(one['tier'])}{' by an override' if one['override'] else ''}"
    if one["needed"] is None:
        return f"{one['samples']:,.0f}; {one['why'] or tier_word(one['tier'])}"
    so_far = f"{one['samples']:,.0f} of {one['needed']:,} answers"
    wait = one["verdict_in_s"]
    if wait is None:
        return so_far
    return (
        f"{so_far}; at the mean rate of the last {duration(one['measured_s'])}, a verdict after about {duration(wait)}"
    )
