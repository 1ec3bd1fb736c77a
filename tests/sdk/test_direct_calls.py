"""Direct calls that LiteLLM refuses by itself, before any provider is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

from tests.support.proxy.observation import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin import Exacto
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.sdk.conftest import Program


def test_a_call_that_is_never_sent_is_nobodys_failure(
    providers: SimulatedProviders,
    make_exacto: Callable[..., Exacto],
    either: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A parameter that LiteLLM does not pass on is refused, and no attempt is counted; a provider's error is one."""
    exacto = make_exacto()
    attempts: list[Any] = []
    monkeypatch.setattr(exacto._runtime.context.telemetry, "attempt", lambda *attempt: attempts.append(attempt))
    asked = {"model": "openai/kimi", "api_base": providers.api_base("alpha"), "api_key": "sk-x", "num_retries": 0}
    with pytest.raises(litellm.UnsupportedParamsError):
        either.direct(**{**asked, "model": "deepinfra/kimi"}, thinking={"type": "enabled"}, audio={"voice": "a"})
    either.idle()
    assert attempts == []
    providers.control.behave("alpha", always=400)
    with pytest.raises(litellm.BadRequestError):
        either.direct(**asked)
    either.idle()
    eventually(lambda: len(attempts), 1)  # LiteLLM tells of synchronous calls in a thread
