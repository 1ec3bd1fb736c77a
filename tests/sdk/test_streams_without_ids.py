"""Calls in streams without ids are good calls: counted as such, and not asked for again elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from tests.support.proxy.raw_upstream import RawUpstream, stored_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exacto_plugin import Exacto

ANSWERS = {answer["name"]: answer for answer in stored_answers()}
ASKED: dict[str, Any] = {key: ANSWERS["noids"]["request"][key] for key in ("messages", "tools")}


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    """Serves a good stream without ids, and a bad one of another deployment."""
    with RawUpstream([ANSWERS["noids"], ANSWERS["wrong-type"]]) as server:
        yield server


@pytest.fixture
def router(upstream: RawUpstream) -> litellm.Router:
    """A model group whose first deployment streams without ids."""
    entries = [upstream.deployment(ANSWERS[name]) for name in ("noids", "wrong-type")]
    for order, entry in enumerate(entries, 1):
        entry["model_name"] = "kimi"
        entry["litellm_params"]["order"] = order
    return litellm.Router(model_list=entries, num_retries=0)


def _calls(chunks: list[Any]) -> list[tuple[Any, str]]:
    deltas = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    return [(delta.id, delta.function.arguments) for delta in deltas]


@pytest.mark.parametrize("rescued", [False, True])
@pytest.mark.parametrize("synchronous", [False, True])
async def test_a_good_stream_without_ids_is_good(
    router: litellm.Router,
    make_exacto: Callable[..., Exacto],
    monkeypatch: pytest.MonkeyPatch,
    rescued: bool,
    synchronous: bool,
) -> None:
    """The client gets it as it came, the answer counts as valid, and nobody else is asked."""
    settings: dict[str, Any] = {"rescue": {"enabled": True, "streams": True}} if rescued else {}
    samples: list[Any] = []
    exacto = make_exacto(**settings).attach(router)
    monkeypatch.setattr(exacto._runtime.samples, "record", lambda sample, _candidate: samples.append(sample))
    if synchronous:
        chunks = await asyncio.to_thread(lambda: list(router.completion("kimi", stream=True, **ASKED)))
    else:
        chunks = [chunk async for chunk in await router.acompletion("kimi", stream=True, **ASKED)]
    calls = _calls(chunks)
    assert calls == [(None, '{"city": "Paris"}'), (None, '{"city": "Rome"}')]
    for _ in range(200):
        if samples:
            break
        await asyncio.sleep(0.05)
    assert [(sample.deployment, sample.outcome, sample.lost) for sample in samples] == [("noids", "valid", False)]
