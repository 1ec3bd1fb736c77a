"""What clients see of the plugin in the headers of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Tier
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.litellm_hooks.proxy import middleware_of
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {"x-exacto-policy", "x-exacto-decision", "x-exacto-snapshot", "x-exacto-tier"}


async def _headers(expose: Mapping[str, bool], *, may_move: bool = False, status: int = 200) -> set[str]:
    """The plugin's headers on an answer of a request that one deployment served."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        state = CURRENT.get()
        assert state is not None
        state.routing.policy, state.routing.snapshot_id, state.routing.may_move = Policy(), "s-1", may_move
        state.attempts.append(Attempt(Candidate(LiteLLMId("d"), DeploymentKey("d"), "vendor"), "g", Tier.VERIFIED_GOOD))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    runtime = Runtime(Settings.model_validate({"expose": expose}))
    await middleware_of(runtime, lambda: None)(app)(scope, receive, send)
    return {name.decode() for name, _ in sent[0]["headers"]}


@pytest.mark.parametrize(
    ("expose", "names"),
    [
        ({}, NAMES | {"x-exacto-deployment", "x-exacto-provider"}),
        ({"providers": False}, NAMES),
        ({"headers": False}, set()),
    ],
)
async def test_headers_are_the_operators_choice(expose: Mapping[str, bool], names: set[str]) -> None:
    """``expose`` says whether clients get headers, and whether these name who served."""
    assert await _headers(expose) == names


async def test_what_may_turn_out_wrong_is_left_out() -> None:
    """A stream that may still move names no deployment; an error that was sent is over."""
    assert await _headers({}, may_move=True) == NAMES - {"x-exacto-tier"}
    assert "x-exacto-deployment" in await _headers({}, may_move=True, status=500)
