"""The time that 30 days of a model group take to be read for the page, on SQLite.

The records are what the recorder writes about one model group of 20 deployments that is recomputed every 5 minutes by
the real engine on made-up traffic, with the hourly counts of two workers. Each request goes through the API's own
routes, without a socket, ``TIMES`` times; the first one of each path counts too, and is told by itself: hourly counts
that no request before it has read are read then. A view is its data and its HTML. CPU is the median of the process's
own time, which other work on the machine does not change much.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.recompute import patterns_of
from benchmarks.store import DAY_S, INTERVAL_S, START, recompute
from exacto_plugin.config.settings import load_settings
from exacto_plugin.core.routing.counterfactual import PickNumbers
from exacto_plugin.core.tiers.checkpoints import ChangeDetector
from exacto_plugin.core.wire import to_wire
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.records import HourRecord
from exacto_plugin.store.location import location_of_url
from exacto_plugin.web.access import Visitor
from exacto_plugin.web.api import page_data_of
from exacto_plugin.web.rendering import Renderer
from tests.support.administrator import client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GROUP, DEPLOYMENTS, WORKERS = "vendor/model", 20, 2
TIMES = 20


def _fill(runtime: Runtime, days: float, clock: list[float]) -> None:
    """Put the records of some days into the store."""
    draw, store = random.Random(1), runtime.store
    patterns = [patterns_of(number, draw) for number in range(DEPLOYMENTS)]
    runtime.engine.change_detector, runtime.engine.deltas = ChangeDetector(), None
    for step in range(round(days * DAY_S / INTERVAL_S)):
        clock[0] = now = float(START + step * INTERVAL_S)
        recompute(runtime, {GROUP: patterns}, now, draw)
        if step % 12 == 0:
            for worker in range(WORKERS):
                for name in ("", *(f"deployment-{number}" for number in range(DEPLOYMENTS))):
                    numbers = PickNumbers(draw.random() * 1e3, answers=500.0, bad=7.0, schema_mismatch=7.0)
                    store.write(HourRecord(now, GROUP, name, f"worker-{worker}", to_wire(numbers)))
        if step % 100 == 0:
            assert store.flush(60.0)
    assert store.flush(60.0)
    assert store.health.dropped == 0


def _timed(name: str, ask: Callable[[], int]) -> str:
    """The times of one request as a line of the table."""
    taken, spent, size = [], [], 0
    for _ in range(TIMES):
        started, used = time.perf_counter(), time.process_time()
        size = ask()
        taken.append(1e3 * (time.perf_counter() - started))
        spent.append(1e3 * (time.process_time() - used))
    shares = statistics.quantiles(taken, n=10, method="inclusive")
    numbers = (statistics.median(taken), shares[-1], taken[0], statistics.median(spent), spent[0], size / 1e3)
    return f"{name:44}{''.join(f'{number:9.0f}' for number in numbers)}"


def measure(days: float, kept: Path | None) -> Iterator[str]:
    """The table, line by line.

    Args:
        days: of records.
        kept: a file with the records of an earlier run, or for those of this one; None: they are not kept.
    """
    clock = [float(START)]
    with tempfile.TemporaryDirectory(prefix="exacto-bench-") as folder:
        file = kept or Path(folder) / "records.sqlite"
        is_filled = file.exists()
        runtime = Runtime(load_settings(None), clock=lambda: clock[0], place=location_of_url(f"sqlite:///{file}"))
        if is_filled:
            clock[0] += (round(days * DAY_S / INTERVAL_S) - 1) * INTERVAL_S
        else:
            _fill(runtime, days, clock)
        client, data, renderer = client_of(runtime), page_data_of(runtime), Renderer()

        def api(path: str) -> int:
            answer = client.get(f"/exacto/api/{path}")
            assert answer.status_code == 200, answer.text
            return len(answer.content)

        def view() -> int:
            visitor = Visitor(None, may_write=True)
            shown = asyncio.run(data.group(visitor, GROUP, "30d"))
            more = {"span": "30d", "chosen": "30d", "visitor": visitor, "now": clock[0]}
            return len(renderer.view("group", {**shown, **more}))

        yield f"{days:g} days of {DEPLOYMENTS} deployments: {file.stat().st_size / 1e6:.0f} MB"
        yield f"{'':44}{'median ms':>9}{'p90':>9}{'first':>9}{'CPU':>9}{'first':>9}{'kB':>9}"
        for length in (1, 7, 30):
            since = clock[0] - length * DAY_S
            path = f"series?model_group={GROUP}&since={since}"
            yield _timed(f"API, series, {length} days", lambda path=path: api(path))  # type: ignore[misc]
        yield _timed("API, incidents, all", lambda: api("incidents"))
        if not is_filled:  # else there is no verdict yet
            yield _timed("page, model group, 30 days", view)
        runtime.store.close()


def main(argv: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--store", type=Path, help="file to keep the records in, or to take them from")
    asked = parser.parse_args(argv)
    for line in measure(asked.days, asked.store):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
