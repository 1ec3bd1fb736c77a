"""Fixtures for tests of the plugin in a program: simulated providers, and routers asked in every way a program can."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin import Exacto
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.litellm_hooks.request.state import CURRENT
from tests.support.proxy.observation import eventually
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RULE = {"tool_call_requests": 4}
SETTINGS = {"tiers": {"preset": "openrouter", "openrouter": RULE}}
"""The published rule with numbers that a test can reach."""


@pytest.fixture(scope="session")
def provider_server() -> Iterator[SimulatedProviders]:
    """The simulated providers' server, one for the whole run."""
    with SimulatedProviders() as server:
        yield server


@pytest.fixture
def providers(provider_server: SimulatedProviders) -> SimulatedProviders:
    """The simulated providers, all of them as they began."""
    provider_server.control.reset()
    return provider_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """LiteLLM leaves it to the garbage collector to close the connections of a router."""
    for item in items:
        if "tests/sdk/" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def _connections_are_collected() -> Iterator[None]:
    """What LiteLLM leaves open is collected here, and not during somebody else's test."""
    yield
    litellm.in_memory_llm_clients_cache.flush_cache()  # type: ignore[no-untyped-call]
    gc.collect()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """The event loop of asynchronous programs, one for a module: LiteLLM keeps its clients by loop."""
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as patched:
        patched.setattr(litellm, "disable_aiohttp_transport", True)
        yield runner
        runner.run(litellm.close_litellm_async_clients())  # type: ignore[no-untyped-call]
        gc.collect()


@pytest.fixture
def make_exacto() -> Iterator[Callable[..., Exacto]]:
    """Makes the process's one plugin and takes it out again."""
    made: list[Exacto] = []

    def make(**settings: Any) -> Exacto:
        made.append(Exacto({**SETTINGS, **settings}))
        return made[-1]

    token = CURRENT.set(None)
    yield make
    CURRENT.reset(token)
    for one in made:
        one.close()


class Program:
    """A program that asks a router, in one of the ways there are.

    Args:
        way: ``async`` or ``sync``, ``whole`` or ``streamed``, as in ``sync-streamed``.
        runner: the event loop of an asynchronous one.
    """

    def __init__(self, way: str, runner: asyncio.Runner) -> None:
        kind, form = way.split("-")
        self._async = kind == "async"
        self._stream = form == "streamed"
        self._runner = runner

    def ask(self, router: Any, model: str, *, tools: bool = True, **more: Any) -> str:
        """Ask once and read the answer to its end; the id of the deployment that answered."""
        given = {"model": model, "messages": MESSAGES, **({"tools": TOOLS} if tools else {}), **more}
        call = self._ask_async if self._async else self._ask_sync
        return call(router.acompletion if self._async else router.completion, given)

    def direct(self, **more: Any) -> None:
        """Ask LiteLLM itself."""
        call = self._ask_async if self._async else self._ask_sync
        call(litellm.acompletion if self._async else litellm.completion, {"messages": MESSAGES, **more})

    def idle(self) -> None:
        """Let what LiteLLM does after an answer happen."""
        if self._async:
            self._runner.run(asyncio.sleep(0.01))

    def _ask_sync(self, call: Any, given: dict[str, Any]) -> str:
        answer = call(**given, stream=self._stream)
        if self._stream:
            for _ in answer:
                pass
        return _served_by(answer)

    def _ask_async(self, call: Any, given: dict[str, Any]) -> str:
        return self._runner.run(self._asked(call, given))

    async def _asked(self, call: Any, given: dict[str, Any]) -> str:
        answer = await call(**given, stream=self._stream)
        if self._stream:
            async for _ in answer:
                pass
        return _served_by(answer)


def _served_by(answer: Any) -> str:
    return str(answer._hidden_params.get("model_id"))


@pytest.fixture(params=["async-whole", "async-streamed", "sync-whole", "sync-streamed"])
def program(request: pytest.FixtureRequest, loop: asyncio.Runner) -> Program:
    """A program for each way to ask."""
    return Program(request.param, loop)


@pytest.fixture(params=["async-whole", "sync-streamed"])
def either(request: pytest.FixtureRequest, loop: asyncio.Runner) -> Program:
    """A program of each kind, for what does not depend on the form of answers."""
    return Program(request.param, loop)


def judged(exacto: Exacto, program: Program, group: str) -> Callable[[], dict[str, tuple[int, int]]]:
    """A function that recomputes and tells, by deployment, answers with tool calls and how many of them were bad."""

    def told() -> dict[str, tuple[int, int]]:
        program.idle()
        exacto.recompute()
        groups = {one["model_group"]: one["deployments"] for one in exacto.tiers()["model_groups"]}
        counts = {}
        for deployment in groups.get(group, ()):
            signal = deployment["signals"].get("tool_call_success") or {"samples": 0}
            if signal["samples"]:
                counts[deployment["deployment"]] = (signal["samples"], round(signal["samples"] * (1 - signal["value"])))
        return counts

    return told


def tiers(exacto: Exacto, group: str) -> dict[str, str]:
    """The tier of each deployment."""
    found = next(one for one in exacto.tiers()["model_groups"] if one["model_group"] == group)
    return {one["deployment"]: one["tier"] for one in found["deployments"]}


__all__ = ["Program", "eventually", "judged", "tiers"]
