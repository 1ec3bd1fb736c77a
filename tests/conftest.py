"""Settings that hold for every test, and the one PostgreSQL server of a run."""

from __future__ import annotations

import gc
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

os.environ.pop("COLUMNS", None)  # how wide a terminal of the run is; a test that needs a width sets it

# Shared machines stall: how long an example takes says nothing about the code.
# Continuous integration says the same of the same code; everybody else, and `make soak`, look further each time.
SAME_EACH_TIME = bool(os.environ.get("EXACTO_NO_SKIPS"))
settings.register_profile(
    "exacto", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=SAME_EACH_TIME
)
settings.load_profile("exacto")

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.support.postgresql_server import Cluster

_CALLBACK_LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)


@pytest.fixture(autouse=True)
def _callbacks_of_one_test() -> Iterator[None]:
    """What a test adds to LiteLLM's callbacks ends with it: each router adds some, and LiteLLM takes 100 a process.

    From then on nobody else's callback would be called.
    """
    litellm = sys.modules.get("litellm")
    before = {name: list(getattr(litellm, name)) for name in _CALLBACK_LISTS} if litellm is not None else {}
    yield
    for name, callbacks in before.items():
        getattr(litellm, name)[:] = callbacks


@pytest.fixture(autouse=True)
def _request_of_one_test() -> Iterator[None]:
    """The request that a test's own call of a hook begins ends with the test: all of them share a context."""
    yield
    if (state := sys.modules.get("exacto_plugin.litellm_hooks.request.state")) is not None:
        state.CURRENT.set(None)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A private PostgreSQL server for the whole run; skipped where its programs are not installed."""
    from tests.support.postgresql_server import Cluster, missing

    if (reason := missing()) is not None:
        pytest.skip(reason)
    with Cluster() as running:
        yield running


LONGEST = (
    "e2e/test_adaptive.py",
    "e2e/test_undeclared_capacity.py",
    "e2e/test_servers.py",
    "e2e/test_limits.py",
    "e2e/",
    "simulate/test_fast.py",
    "simulate/test_run.py",
    "core/tiers/test_adaptive_traffic.py",
    "sdk/",
    "config/test_messages.py",
    "core/tiers/",
)
"""What takes long begins first, so that all processes of a run end together; the rest fills their gaps."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Longest first, without the tests that are for another LiteLLM."""
    here = Path(__file__).parent
    others = [item for item in items if item.get_closest_marker("dry_run") and not _can_dry_run()]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(here).as_posix()
        return next((number for number, name in enumerate(LONGEST) if path.startswith(name)), len(LONGEST))

    items.sort(key=place)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Send small messages at once.

    With ``--reruns``, pytest-rerunfailures tells and asks its controller something before each test, in two packets
    without an answer to the first. The second one then waits 40 ms for the acknowledgement of the first.
    """
    connection = getattr(getattr(session.config, "failures_db", None), "sock", None)
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nearly everything that is made while tests are collected stays, so garbage is looked for once, at the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What has been imported stays, so the garbage collector need not look at it each time, which takes a second."""
    gc.collect()
    gc.freeze()


def _can_dry_run() -> bool:
    import litellm  # the tests that ask have imported it

    from exacto_plugin.litellm_hooks.routing.dry_run import can_dry_run

    return can_dry_run(litellm.Router)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With EXACTO_NO_SKIPS set, as continuous integration does, a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("EXACTO_NO_SKIPS"):
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} skipped, and EXACTO_NO_SKIPS is set: failed", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
