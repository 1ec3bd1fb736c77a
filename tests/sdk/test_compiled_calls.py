"""LiteLLM's compiled calls of providers (``LITELLM_RUST``): scored and rescued as others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.core.model import Outcome
from exacto_plugin.demo.behaviour import Act
from exacto_plugin.litellm_hooks.router_core import loops_in_python
from tests.support.proxy.observation import PATIENCE_S
from tests.support.proxy.surfaces import INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin import Exacto
    from exacto_plugin.demo.provider import SimulatedProviders

ASKED: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 500,
    "tools": list(INPUTS),
    "messages": [{"role": "user", "content": "What is the weather in Lisbon?"}],
}


WAYS = [(False, False), (False, True), (True, False)]
"""Streamed or not, rescued or not. Before 1.110 a compiled stream is not rescued: its call has no logging object."""


@pytest.mark.parametrize(("stream", "rescued"), WAYS if loops_in_python() else [*WAYS, (True, True)])
async def test_messages(
    providers: SimulatedProviders,
    make_exacto: Callable[..., Exacto],
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
    rescued: bool,
) -> None:
    """The answer counts with its outcome, for a deployment that the router chose."""
    monkeypatch.setenv("LITELLM_RUST", "True")
    providers.control.behave("one", always=Act.SCHEMA_MISMATCH)
    providers.control.behave("two", always=Act.VALID)
    entries = [
        {
            "model_name": "claude",
            "litellm_params": {
                "model": "anthropic/theirs",
                "api_base": f"{providers.base_url}/p/{name}",
                "api_key": "sk-x",
                "order": order,
            },
            "model_info": {"id": name},
        }
        for order, name in enumerate(("one", "two"))
    ]
    router = litellm.Router(model_list=entries, num_retries=0)
    exacto = make_exacto(rescue={"enabled": rescued, "streams": True}, exploration={"share": 0}).attach(router)
    seen: list[Any] = []

    def record(sample: Any, _candidate: Any) -> None:
        if sample.model_group == "claude":  # LiteLLM may still log answers to routers before this one
            seen.append(sample)

    monkeypatch.setattr(exacto._runtime.samples, "record", record)
    answer: Any = await router.aanthropic_messages(stream=stream, **ASKED)
    if stream:
        async for _ in answer:
            pass
    expected = [("one", Outcome.SCHEMA_MISMATCH), ("two", Outcome.VALID)][: 1 + rescued]
    async with asyncio.timeout(PATIENCE_S):
        while len(seen) < len(expected):  # noqa: ASYNC110 -- no event to await
            await asyncio.sleep(0.02)
    assert sorted((sample.deployment, sample.outcome) for sample in seen) == expected
    assert all(sample.routed and sample.tools_offered for sample in seen)
    assert not exacto._runtime.context.faults.counts
