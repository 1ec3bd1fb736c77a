"""What a test can see of the plugin inside a running proxy: its API, its metrics, its own log; and faults to order."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

from exacto_plugin.demo.proxy import free_port
from tests.support.proxy.bare_http import plain_http
from tests.support.proxy.inside_probe import FAULTS, METRICS_PORT, OWN_LOG
from tests.support.proxy.proxy import MASTER_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from tests.support.proxy.proxy import Proxy

PATIENCE_S = 20.0
"""How long something that happens after the answer may take; only failing tests wait as long."""
TRIES = 200
"""How often something is asked that chance decides: one of five does not come up once in 10^19 runs."""
T = TypeVar("T")


def eventually(seen: Callable[[], Any], wanted: Any, patience_s: float = PATIENCE_S) -> None:
    """Wait until ``seen()`` equals ``wanted``, for so many seconds.

    Raises:
        AssertionError: it did not, with what was seen last.
    """
    ends = time.monotonic() + patience_s
    while (now := seen()) != wanted:
        assert time.monotonic() < ends, f"wanted {wanted!r}, still {now!r}"
        time.sleep(0.05)


def seen_in(asking: Callable[[], T], wanted: Collection[object]) -> set[T]:
    """Everything that came of asking, until all of ``wanted`` did, at most ``TRIES`` times."""
    seen: set[T] = set()
    for _ in range(TRIES):
        seen.add(asking())
        if seen >= set(wanted):
            break
    return seen


class Probe:
    """The variables that load :mod:`tests.support.proxy.inside_probe` into a proxy, and where it writes."""

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        self._log = directory / "own.log"
        self._faults = directory / "faults.json"
        self.fail({})
        self.environment: Mapping[str, str] = {
            "LITELLM_WORKER_STARTUP_HOOKS": "tests.support.proxy.inside_probe:install",
            METRICS_PORT: str(self._port),
            OWN_LOG: str(self._log),
            FAULTS: str(self._faults),
        }

    def fail(self, steps: Mapping[str, str]) -> None:
        """Make some steps fail from now on, and no others; each raises its message."""
        fresh = self._faults.with_suffix(".new")
        fresh.write_text(json.dumps(steps))
        fresh.replace(self._faults)

    def log(self) -> str:
        """Everything that the plugin's own logger said."""
        return self._log.read_text() if self._log.exists() else ""

    def warnings(self) -> list[str]:
        """The lines with which something begins that an operator should know."""
        return [line for line in self.log().splitlines() if line.startswith(("WARNING ", "ERROR ", "CRITICAL "))]

    def scrape(self) -> str:
        """The Prometheus page."""
        return plain_http().get(f"http://127.0.0.1:{self._port}/metrics").raise_for_status().text

    def metric(self, name: str, by: str | None = None, **labels: str) -> dict[str, float]:
        """The samples of one metric whose labels are ``labels``, summed by the value of one other label.

        Args:
            name: as Prometheus has it, for instance ``exacto_requests_total``.
            by: the label to sum by; None sums everything under ``""``.
        """
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(self.scrape()):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    key = sample.labels.get(by, "") if by else ""
                    sums[key] = sums.get(key, 0.0) + sample.value
        return sums


def api(proxy: Proxy, path: str, key: str = MASTER_KEY, root: str = "") -> httpx.Response:
    """Ask the plugin's API; ``root`` is the proxy's SERVER_ROOT_PATH."""
    return proxy.request("GET", f"{root}/exacto/api/{path}", key)


def from_every_worker(proxy: Proxy, path: str, workers: int) -> list[Any]:
    """What each worker's API says. Which one answers is chance, so it is asked until all of them have.

    A worker tells its name on the same connection, which no other worker has.

    Raises:
        AssertionError: some workers never answered.
    """
    found: dict[str, Any] = {}
    headers = {"Authorization": f"Bearer {MASTER_KEY}"}
    ends = time.monotonic() + 3 * PATIENCE_S
    while len(found) < workers:
        assert time.monotonic() < ends, f"only {len(found)} of {workers} workers answer"
        url = f"{proxy.base_url}/exacto/api/"
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False, verify=False) as client:
            name = client.get("status").raise_for_status().json()["sharing"]["worker"]
            found[name] = client.get(path).raise_for_status().json()
    return list(found.values())


def verdict(proxy: Proxy, group: str, deployment: str | None = None) -> dict[str, Any] | None:
    """What the API says about a deployment; by default the one that is called as its model group is."""
    answer = api(proxy, f"models/{group}")
    if answer.status_code == 404:
        return None
    deployments = answer.raise_for_status().json()["deployments"]
    return next((one for one in deployments if one["deployment"] == (deployment or group)), None)


def judged(proxy: Proxy, group: str, deployment: str | None = None) -> tuple[int, int]:
    """How many answers with tool calls were judged, and how many of them were bad."""
    found = verdict(proxy, group, deployment)
    signal = (found or {"signals": {}})["signals"].get("tool_call_success")
    if signal is None or not signal["samples"]:
        return 0, 0
    return signal["samples"], round(signal["samples"] * (1.0 - signal["value"]))
