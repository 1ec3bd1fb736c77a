"""Broken answers over real HTTP, by surface, stream and kind: rescued unseen, and blamed on the provider."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from benchmarks.broken_answers import GOOD, Cell, ask, cells, group_of, is_good
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.demo.behaviour import Act
from exacto_plugin.demo.provider import SimulatedProviders
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.install import install_patches, uninstall_patches
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = (Act.EMPTY, Act.REASONING_ONLY, Act.CORRUPT, Act.ERROR_TEXT, Act.ERROR_BODY)
FLAWS = {
    Act.EMPTY: ("empty",),
    Act.REASONING_ONLY: ("reasoning_only", "empty"),
    Act.CORRUPT: ("corrupt",),
    Act.ERROR_TEXT: ("provider_error",),
    Act.ERROR_BODY: ("provider_error",),
}
"""What each is called; text completions have no reasoning."""


@pytest.fixture(scope="module")
def providers() -> Iterator[SimulatedProviders]:
    """The simulated providers."""
    with SimulatedProviders() as server:
        yield server


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a callback with these ``rescue`` settings into LiteLLM, and takes it out again."""

    def install(**rescue: Any) -> ExactoCallback:
        block = {"rescue": {"enabled": True, "streams": True, **rescue}, "exploration": {"share": 0}}
        callback = ExactoCallback(Runtime(Settings.model_validate(block)))
        install_patches(callback)
        monkeypatch.setattr(litellm, "callbacks", [callback])
        return callback

    yield install
    uninstall_patches()


def _router(providers: SimulatedProviders, kind: str, names: list[str]) -> litellm.Router:
    entries = []
    for name in names:
        base = providers.api_base(name)
        url = base.removesuffix("/v1") if kind == "anthropic" else base
        params = {"model": f"{kind}/m", "api_base": url, "api_key": "x"}
        entries.append({"model_name": kind, "litellm_params": params, "model_info": {"id": name}})
    return litellm.Router(model_list=entries, num_retries=0, disable_cooldowns=True)


@pytest.mark.parametrize("cell", cells(), ids=str)
async def test_broken_answers_are_asked_for_elsewhere(
    providers: SimulatedProviders, installed: Any, cell: Cell
) -> None:
    """The client gets the good answer whoever is asked first; a good one is asked for once."""
    callback = installed()
    group = group_of(cell)
    names = [f"{group}-{number}" for number in range(2)]
    router = _router(providers, group, names)
    for kind, first in itertools.product((*KINDS, Act.VALID), names):
        providers.control.reset()
        for name in names:
            act = kind if name == first or kind is Act.VALID else Act.VALID
            providers.control.behave(name, always=act, content=GOOD if act is Act.VALID else None)
        said = [await ask(router, cell, group, f"What is the capital, no. {number}?") for number in range(3)]
        assert all(map(is_good, said)), (kind, said)
        states = providers.control.states()
        asked = sum(state["requests"] for state in states.values())
        broken = sum(state["acts"].get(kind.value, 0) for state in states.values() if kind is not Act.VALID)
        assert asked == 3 + broken
    assert callback.faults.counts == {}


@pytest.mark.parametrize("cell", [one for one in cells() if not one.tools], ids=str)
async def test_the_provider_is_blamed(providers: SimulatedProviders, installed: Any, cell: Cell) -> None:
    """By the right name, once, where the answer is delivered since no other deployment is left."""
    callback = installed()
    group = group_of(cell)
    router = _router(providers, group, ["alone"])
    for kind in KINDS:
        providers.control.behave("alone", always=kind)
        before = dict(callback.runtime.samples.flaws.total)
        await ask(router, cell, group, "What is the capital?")
        for _ in range(100):
            after = callback.runtime.samples.flaws.total
            found = {flaw.value: count - before[flaw] for flaw, count in after.items() if count != before[flaw]}
            if found:
                break
            await asyncio.sleep(0.02)
        assert list(found.values()) == [1]
        assert set(found) <= set(FLAWS[kind])
    assert callback.runtime.samples.flaws.by_blame["provider"] == len(KINDS)


@pytest.mark.parametrize("cell", cells(), ids=str)
async def test_one_deployment_is_asked_once_more(providers: SimulatedProviders, installed: Any, cell: Cell) -> None:
    """With ``same_deployment``, and never a third time; without it not even a second time."""
    group = group_of(cell)
    router = _router(providers, group, ["alone"])
    for same, acts, asked, fine in (
        (True, (Act.EMPTY, Act.VALID), 2, True),
        (True, (Act.EMPTY, Act.CORRUPT, Act.VALID), 2, False),
        (False, (Act.EMPTY, Act.VALID), 1, False),
    ):
        installed(same_deployment=same, max_attempts=3)
        providers.control.reset()
        providers.control.behave("alone", next=list(acts), content=GOOD)
        said = await ask(router, cell, group, "What is the capital?")
        assert is_good(said) is fine, (same, said)
        assert providers.control.requests("alone") == asked
    # LiteLLM hands logs that are not written yet to the next test's event loop.
    await GLOBAL_LOGGING_WORKER.flush()


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("cell", [one for one in cells() if not one.tools], ids=str)
async def test_a_callers_doing_is_asked_for_once(
    providers: SimulatedProviders, installed: Any, cell: Cell, kind: str
) -> None:
    """Nothing after a limit of one token, an answer cut off, and a refused request, from any kind of provider."""
    callback = installed(same_deployment=True)
    router = _router(providers, kind, ["alone"])
    limit = {"max_output_tokens" if cell.surface == "responses" else "max_tokens": 1}
    acts: list[tuple[Any, dict[str, int]]] = [(Act.EMPTY, limit), (Act.TRUNCATED, {}), (400, {})]
    for act, more in acts:
        providers.control.reset()
        providers.control.behave("alone", always=act)
        await ask(router, cell, kind, "What is the capital?", **more)
        assert providers.control.requests("alone") == 1, act
    assert callback.runtime.samples.flaws.by_blame["provider"] == 0
    assert callback.faults.counts == {}


async def test_answers_to_one_request_are_compared(providers: SimulatedProviders, installed: Any) -> None:
    """A rescued request shows how many prompt tokens two deployments count, and whose answers can be used."""
    callback = installed()
    router = _router(providers, "openai", ["first", "second"])
    providers.control.reset()
    providers.control.behave("first", always=Act.EMPTY, prompt_tokens=218)
    providers.control.behave("second", always=Act.VALID, content=GOOD, prompt_tokens=100)
    cell, pairs = cells()[0], callback.runtime.samples.pairs
    first = DeploymentKey("first")
    for number in range(400):
        await ask(router, cell, "openai", f"What is the capital, no. {number}?")
        if pairs.of("openai", first):
            break
    (found,) = pairs.of("openai", first)
    assert (found.other, found.counted, found.offset, found.share) == ("second", 20, 118, 1.0)
    assert (found.valid, found.other_valid, found.is_constant) == (0.0, 1.0, True)
    assert callback.faults.counts == {}
