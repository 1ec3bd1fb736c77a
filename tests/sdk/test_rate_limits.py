"""What LiteLLM passes on of providers' rate limits: refused attempts, and the limits in the headers of answers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import litellm

from exacto_plugin.core.model import DeploymentKey
from tests.support.proxy.observation import eventually
from tests.support.proxy.proxy import deployment

if TYPE_CHECKING:
    import pytest

    from exacto_plugin.core.model import Sample
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.sdk.conftest import Program
    from tests.sdk.test_limits import MakeExacto


def test_refusals_and_limits_are_seen(
    providers: SimulatedProviders, make_exacto: MakeExacto, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whole and streamed answers, awaited or not; another failure is no refusal, and a declaration no header."""
    # A declared limit, which LiteLLM writes into headers of its own.
    entries = [deployment(providers, "dear", "kimi"), {**deployment(providers, "cheap", "kimi"), "rpm": 500}]
    router = litellm.Router(model_list=entries, num_retries=0, disable_cooldowns=True)
    exacto = make_exacto()
    exacto.attach(router)
    runtime = exacto._runtime
    seen: list[Sample] = []
    monkeypatch.setattr(runtime.samples, "record", lambda sample, _candidate: seen.append(sample))
    providers.control.behave("dear", reported_limit=60)
    for name in ("dear", "cheap"):
        program.ask(router, name)

    def limits() -> list[float | None]:
        program.idle()
        now = runtime.context.clock()
        return [runtime.samples.limits.total("kimi", DeploymentKey(name), now) for name in ("dear", "cheap")]

    eventually(limits, [60.0, None])
    providers.control.behave("dear", next=[429, 500])
    for _ in range(2):
        with contextlib.suppress(litellm.RateLimitError, litellm.InternalServerError):
            program.ask(router, "dear")

    def failures() -> list[bool]:
        program.idle()
        return [sample.refused for sample in seen if not sample.ok]

    eventually(failures, [True, False])
