"""Fixtures for tests through a real proxy: simulated providers, proxies that tests share, and their logs on failure."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from exacto_plugin.demo.provider import SimulatedProviders
from tests.support.proxy.proxy import Proxy, Server

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

_RUNNING: list[Proxy] = []


class StartProxy(Protocol):
    """Starts a proxy that runs until the module's tests are done."""

    def __call__(
        self,
        config: Mapping[str, Any],
        *,
        keys: Mapping[str, Mapping[str, Any]] | None = None,
        server: Server = "uvicorn",
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Proxy: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder starts a real proxy."""
    for item in items:
        if "tests/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def provider_server() -> Iterator[SimulatedProviders]:
    """The simulated providers' server, one for the whole run."""
    with SimulatedProviders() as server:
        yield server


@pytest.fixture
def providers(provider_server: SimulatedProviders) -> SimulatedProviders:
    """The simulated providers, all of them as they began: well-behaved, nothing seen."""
    provider_server.control.reset()
    return provider_server


@contextmanager
def starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProxy]:
    """Starts proxies, all of which end with it."""
    with ExitStack() as stack:

        def start(config: Mapping[str, Any], **options: Any) -> Proxy:
            directory = tmp_path_factory.mktemp("proxy")
            proxy = stack.enter_context(Proxy(config, directory, **options))
            _RUNNING.append(proxy)
            stack.callback(_RUNNING.remove, proxy)
            return proxy

        yield start


@pytest.fixture(scope="module")
def start_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProxy]:
    """Starts proxies that the tests of one module share."""
    with starting(tmp_path_factory) as start:
        yield start


@pytest.fixture(autouse=True)
def _proxies_stay_alive() -> Iterator[None]:
    """A proxy that dies fails the test during which it died, with the end of its log."""
    yield
    for proxy in _RUNNING:
        proxy.check_alive()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the end of every running proxy's log beside a failure."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {proxy.base_url}", proxy.log_tail()) for proxy in _RUNNING]
    return report
