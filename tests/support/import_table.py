"""Which package may import which; docs/architecture.md shows the same table to readers."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from tests.support.source_tree import PACKAGE, ROOT, modules

_CORE: Final = frozenset(
    f"core/{name}"
    for name in (
        *("wire", "lazy", "text_beginnings", "model", "decision", "codec", "views"),
        *("stats", "windows", "scoring", "routing", "tiers", "engine"),
    )
)
_BASE: Final = _CORE | {"errors", "config", "at_exit", "telemetry", "hooks"}
"""What every part of the adapter may import; ``hooks`` are the modules at the bottom of ``litellm_hooks``."""
_DEPLOYMENTS: Final = _BASE
_REQUEST: Final = _DEPLOYMENTS | {"litellm_hooks/deployments"}
_RUNTIME: Final = _REQUEST | {"litellm_hooks/request", "store", "sharing", "records", "benchmark_scores"}
_ROUTING: Final = _REQUEST | {"litellm_hooks/request", "litellm_hooks/runtime"}
_SCORING: Final = _ROUTING | {"litellm_hooks/routing"}
_RESCUE: Final = _SCORING | {"litellm_hooks/scoring"}
_HTTP: Final = _RESCUE | {"litellm_hooks/rescue"}
_ENTRY: Final = (
    _HTTP
    | _RUNTIME
    | {
        "litellm_hooks/checks",
        "litellm_hooks/http",
        "litellm_hooks/compiled",
        "litellm_hooks/monitoring",
        "entry",
        "web",
        "audit",
        "root",
        "asgi",
    }
)
_PROGRAMS: Final = _CORE | {
    "errors",
    "config",
    "records",
    "store",
    "sharing",
    "audit",
    "bench",
    "bench/isolated",
    "bench/verifier",
    "benchmark_scores",
    "text_tables",
    "terminal",
    "at_exit",
    "root",
}

ALLOWED: Final[dict[str, frozenset[str]]] = {
    "root": frozenset({"errors", "hooks", "entry", "records"}),
    "asgi": frozenset({"entry"}),
    "errors": frozenset(),
    "text_tables": frozenset({"terminal"}),
    "terminal": frozenset(),
    "at_exit": frozenset(),
    "core/wire": frozenset(),
    "core/lazy": frozenset(),
    "core/text_beginnings": frozenset(),
    "core/steps": frozenset({"core/wire"}),
    "core/pace": frozenset({"core/wire"}),
    "core/flaw_kinds": frozenset(),
    "core/model": frozenset({"core/wire", "core/pace", "core/steps", "core/flaw_kinds"}),
    "core/decision": frozenset({"core/model"}),
    "core/stats": frozenset(),
    "core/windows": frozenset({"core/wire", "core/pace", "core/model", "core/stats"}),
    "core/scoring": frozenset({"core/wire", "core/lazy", "core/text_beginnings", "core/model"}),
    "core/routing": frozenset({"core/wire", "core/lazy", "core/pace", "core/model", "core/decision"}),
    "core/tiers": frozenset({"core/wire", "core/steps", "core/lazy", "core/model", "core/stats", "core/windows"}),
    "core/engine": frozenset(
        {"core/wire", "core/pace", "core/model", "core/decision", "core/windows", "core/tiers", "core/routing"}
    ),
    "core/codec": frozenset({"core/wire", "core/model"}),
    "core/views": frozenset({"core/pace", "core/wire", "core/model", "core/windows", "core/scoring", "core/routing"}),
    "core/": frozenset(),
    "records": frozenset({"core/wire"}),
    "config": _CORE | {"errors", "records"},
    "telemetry": _CORE | {"records"},
    "sharing": _CORE | {"errors"},
    "store": _CORE | {"errors", "config", "records", "sharing", "at_exit"},
    "audit": _CORE | {"errors", "records", "store"},
    "benchmark_scores": _CORE | {"records", "store"},
    "bench/verifier": _CORE
    | {"errors", "records", "config", "bench", "benchmark_scores", "litellm_hooks/request", "litellm_hooks/scoring"},
    "bench": _CORE
    | {"errors", "config", "records", "store", "audit", "benchmark_scores", "text_tables", "terminal", "demo"}
    | {"litellm_hooks/checks", "litellm_hooks/deployments", "bench/isolated"},
    "bench/isolated": _CORE
    | {"errors", "demo", "benchmark_scores", "litellm_hooks/checks", "litellm_hooks/deployments"},
    "hooks": _BASE,
    "litellm_hooks/deployments": _DEPLOYMENTS,
    "litellm_hooks/request": _REQUEST,
    "litellm_hooks/routing": _ROUTING,
    "litellm_hooks/scoring": _SCORING,
    "litellm_hooks/rescue": _RESCUE,
    "litellm_hooks/http": _HTTP,
    "litellm_hooks/runtime": _RUNTIME,
    "litellm_hooks/compiled": _HTTP | {"entry"},
    "litellm_hooks/monitoring": _RUNTIME | {"litellm_hooks/runtime", "entry"},
    "litellm_hooks/checks": _RUNTIME,
    "entry": _ENTRY,
    "web": _CORE
    | {"errors", "hooks", "records", "store", "audit", "benchmark_scores"}
    | {"litellm_hooks/deployments", "litellm_hooks/runtime"},
    "cli": _PROGRAMS | {"demo", "simulate", "litellm_hooks/checks", "entry"},
    "simulate": _PROGRAMS | {"demo"},
    "demo": _CORE | {"errors", "text_tables", "terminal"},
    "__main__": frozenset({"cli"}),
}
"""Package -> the packages that it may import.

The timer's path (windows, tiers) and the request's path (scoring, routing) meet only in the model and the engine.
"""

_ENTRY_MODULES: Final = frozenset(
    {
        "callback",
        "callback_order",
        "install",
        "proxy",
        "proxy_settings",
        "router_patches",
        "sdk",
        "sdk_entries",
        "sync_router_patches",
    }
)
_RECORDS: Final = frozenset({"records", "_version"})
_NESTED: Final = {
    "core/scoring/json_schema": "core/scoring",
    "core/scoring/answers": "core/scoring",
    "core/tiers/adaptive": "core/tiers",
    "audit/hours": "audit",
    "audit/incidents": "audit",
    "sharing/redis": "sharing",
    "simulate/fast": "simulate",
    "bench/logs": "bench",
    "cli/benchmarks": "cli",
    "bench/parcels": "bench",
    "bench/running": "bench",
    "bench/scheduling": "bench",
}


def package_of(name: str) -> str:
    """The row of the table that a module belongs to."""
    path = modules()[name]
    folder = PurePosixPath(path.parent.relative_to(ROOT)).as_posix()
    stem = "" if path.name == "__init__.py" else path.stem
    if folder == ".":
        return "records" if stem in _RECORDS else stem or "root"
    if folder == "core":
        return f"core/{stem}"
    if folder == PACKAGE or folder == "litellm_hooks":
        return "entry" if stem in _ENTRY_MODULES else "hooks"
    return _NESTED.get(folder, folder)
