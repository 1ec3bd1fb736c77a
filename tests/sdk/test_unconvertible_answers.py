"""Answers that LiteLLM cannot convert for the client count once, as what they are, and not as failed attempts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.core.model import Blame, Outcome
from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import PATIENCE_S
from tests.support.proxy.surfaces import INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin import Exacto
    from exacto_plugin.demo.provider import SimulatedProviders


@pytest.mark.parametrize("rescued", [False, True])
@pytest.mark.parametrize(
    ("act", "outcome", "blame"),
    [(Act.TRUNCATED, None, Blame.LIMIT), (Act.INVALID_JSON, Outcome.INVALID_JSON, Blame.PROVIDER)],
)
async def test_arguments_that_are_no_json_in_messages_over_chat(
    providers: SimulatedProviders,
    make_exacto: Callable[..., Exacto],
    monkeypatch: pytest.MonkeyPatch,
    rescued: bool,
    act: Act,
    outcome: Outcome | None,
    blame: Blame,
) -> None:
    """The client gets LiteLLM's error; the deployment answered, and is blamed for its answer only."""
    providers.control.behave("one", always=act)
    params = {"model": "hosted_vllm/theirs", "api_base": providers.api_base("one"), "api_key": "sk-x"}
    entry = {"model_name": "claude", "litellm_params": params, "model_info": {"id": "one"}}
    router = litellm.Router(model_list=[entry], num_retries=0)
    exacto = make_exacto(rescue={"enabled": rescued}).attach(router)
    seen: list[Any] = []
    monkeypatch.setattr(exacto._runtime.samples, "record", lambda sample, _candidate: seen.append(sample))
    asked = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    with pytest.raises(Exception, match="Failed to parse tool call arguments"):
        await router.aanthropic_messages(model="claude", max_tokens=500, tools=list(INPUTS), messages=asked)
    async with asyncio.timeout(PATIENCE_S):
        while not any(sample.ok for sample in seen):  # noqa: ASYNC110 -- no event to await
            await asyncio.sleep(0.02)
    assert [(sample.ok, sample.outcome, sample.blame) for sample in seen] == [(True, outcome, blame)]
