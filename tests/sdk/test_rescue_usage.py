"""The usage that rescued streams report to programs, awaited or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.proxy import deployment
from tests.support.proxy.questions import MESSAGES, TOOLS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from exacto_plugin import Exacto
    from exacto_plugin.demo.provider import SimulatedProviders

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the .model_.*fields:DeprecationWarning")
"""LiteLLM does, in streams with usage."""
FIRST, SECOND = (11, 3), (70, 30)


@pytest.fixture
def router(providers: SimulatedProviders, make_exacto: Callable[..., Exacto]) -> Any:
    """A router that asks the first of two deployments, with rescue of streams."""
    entries = [
        deployment(providers, name, input_cost_per_token=price, output_cost_per_token=price, order=order)
        for order, (name, price) in enumerate((("one", 1e-6), ("two", 1e-5)))
    ]
    made = litellm.Router(model_list=entries, num_retries=0)
    make_exacto(rescue={"enabled": True, "streams": True}, exploration={"share": 0}).attach(made)
    return made


def _chunks(router: Any, loop: asyncio.Runner, *, awaited: bool, **more: Any) -> list[Any]:
    asked = {"messages": MESSAGES, "tools": TOOLS, "stream": True, **more}

    async def read() -> list[Any]:
        return [chunk async for chunk in await router.acompletion("kimi", **asked)]

    return loop.run(read()) if awaited else list(router.completion("kimi", **asked))


@pytest.mark.parametrize("act", [Act.VALID, Act.INVALID_JSON, Act.MISSING_CALL])
@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_usage_of_the_delivered_answer(
    providers: SimulatedProviders, router: Any, loop: asyncio.Runner, awaited: bool, act: Act
) -> None:
    """In the last chunk where the program asks for it, else among LiteLLM's own parameters of it."""
    for name, does, (prompt, completion) in (("one", act, FIRST), ("two", Act.VALID, SECOND)):
        providers.control.behave(name, always=does, prompt_tokens=prompt, completion_tokens=completion)
    tokens, price = (FIRST, 1e-6) if act is Act.VALID else (SECOND, 1e-5)
    chunks = _chunks(router, loop, awaited=awaited, stream_options={"include_usage": True})
    counted = [number for number, chunk in enumerate(chunks) if getattr(chunk, "usage", None) is not None]
    assert counted == [len(chunks) - 1]
    usage = chunks[-1].usage
    assert (usage.prompt_tokens, usage.completion_tokens) == tokens
    assert usage.cost == pytest.approx(sum(tokens) * price)
    assembled: Any = litellm.stream_chunk_builder(chunks=chunks)
    assert (assembled.usage.prompt_tokens, assembled.usage.completion_tokens) == tokens
    silent = _chunks(router, loop, awaited=awaited)
    assert all(getattr(chunk, "usage", None) is None for chunk in silent)
    if act is not Act.VALID:
        assert silent[-1]._hidden_params["usage"].total_tokens == sum(SECOND)
