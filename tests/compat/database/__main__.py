"""``python -m tests.compat.database --version 1.108.7``: the rows of ``checks`` with a real PostgreSQL."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.demo.behaviour import Act
from exacto_plugin.demo.provider import SimulatedProviders
from tests.compat.database.checks import ROWS, Database
from tests.compat.database.prepared import create_tables, missing, prepare
from tests.compat.environments import environment
from tests.support.postgresql_server import Cluster
from tests.support.proxy.openai_client import config, prices
from tests.support.proxy.proxy import Proxy, deployment

if TYPE_CHECKING:
    from collections.abc import Sequence

_REPOSITORY: Final = Path(__file__).parents[3]
_CACHE: Final = _REPOSITORY / ".compat"
_HEAVY: Final = 10**6
OFF: Final = "off: "
"""Beginning of the result of a row whose feature is off."""


def run(version: str, python: str, cache: Path) -> dict[str, str]:
    """Ask every row of a proxy with this version.

    Raises:
        RuntimeError: something cannot be installed, or the proxy does not start.
    """
    place = environment(version, python, cache / "database", _REPOSITORY)
    variables = prepare(place.interpreter, cache / "database" / "engine")
    with Cluster() as cluster, SimulatedProviders() as providers, tempfile.TemporaryDirectory() as directory:
        url = cluster.fresh()
        create_tables(place.interpreter, url)
        added = {**variables, "DATABASE_URL": url, "PYTHONPATH": str(_REPOSITORY), "LITELLM_SALT_KEY": "sk-salt"}
        with Proxy(_config(providers, url), Path(directory), environment=added, interpreter=place.interpreter) as proxy:
            here = Database(proxy, providers, url)
            features = proxy.request("GET", "/exacto/api/status").json()["features"]
            off = {name: f"{OFF}{one['reason']}" for name, one in features.items() if not one["on"]}
            return {row.__name__: _told(row, here, off.get(feature, "")) for row, feature in ROWS.items()}


def _told(row: Any, here: Database, off: str) -> str:
    """The fault of a row, or why the plugin says that its feature is off."""
    try:
        fault: str = row(here)
    except (RuntimeError, LookupError, ValueError) as error:
        fault = f"{type(error).__name__}: {error}"
    fault = off if fault and off else fault
    sys.stdout.write(f"{row.__name__}: {fault or 'ok'}\n")
    sys.stdout.flush()
    return fault


def _config(providers: SimulatedProviders, url: str) -> Any:
    providers.control.behave("breaker", always=Act.INVALID_JSON)
    models = [
        deployment(providers, "cheap", "kimi", weight=1, **prices(1, 1)),
        deployment(providers, "dear", "kimi", weight=_HEAVY, **prices(2, 2)),
        deployment(providers, "breaker", "broken", weight=_HEAVY, **prices(1, 1)),
        deployment(providers, "rescuer", "broken", weight=1, **prices(1, 1)),
    ]
    router = {"num_retries": 0, "disable_cooldowns": True, "routing_strategy": "simple-shuffle"}
    settings = {
        "curated": {"kimi": ["cheap"]},
        "default_sort": "none",
        "exploration": {"share": 0},
        "rescue": {"enabled": True, "streams": True, "max_extra_seconds": 20},
        "tiers": {"recompute_interval_s": 0.5},
    }
    general = {"database_url": url, "store_model_in_db": True, "proxy_batch_write_at": 1}
    return {**config(models, router=router, **settings), "general_settings": general}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the rows as they come, and keep the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat.database")
    parser.add_argument("--version", required=True, help="of LiteLLM")
    parser.add_argument("--python", default=getattr(sys, "_base_executable", sys.executable))
    options = parser.parse_args(arguments)
    if absent := missing():
        sys.stdout.write(f"cannot be tried here: {absent}\n")
        return 1
    found = run(options.version, options.python, _CACHE)
    kept = _CACHE / "results" / f"database-{options.version}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(
        f"LiteLLM {options.version}: {sum(not fault for fault in found.values())} of {len(found)} rows ok\n"
    )
    return int(any(fault and not fault.startswith(OFF) for fault in found.values()))


if __name__ == "__main__":
    sys.exit(main())
