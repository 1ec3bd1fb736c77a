"""The decision of a request on the span that LiteLLM made for it, through LiteLLM's own router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tests.support.proxy.openai_client import prices
from tests.support.proxy.proxy import deployment

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin import Exacto
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.sdk.conftest import Program

WANTED: dict[str, Any] = {
    "exacto.model_group": "kimi",
    "exacto.routing.policy": "price",
    "exacto.routing.outcome": "reordered",
    "exacto.routing.reason": "sort",
    "exacto.routing.deployments": ("cheap", "dear"),
    "exacto.routing.tiers": ("insufficient_data", "insufficient_data"),
}


def test_the_decision_is_on_the_span(
    providers: SimulatedProviders, make_exacto: Callable[..., Exacto], either: Program
) -> None:
    """On LiteLLM's where the metadata has one, else on the current one; without any span nothing happens."""
    entries = [deployment(providers, name, **prices(price, price)) for name, price in (("dear", 2), ("cheap", 1))]
    router = litellm.Router(model_list=entries, num_retries=0)
    exacto = make_exacto()
    exacto.attach(router)
    tracer = TracerProvider().get_tracer("of the tests")
    assert either.ask(router, "kimi:floor") == "cheap"
    litellms, own = (tracer.start_span(name) for name in ("LiteLLM's", "current"))
    with trace.use_span(own):
        assert either.ask(router, "kimi:floor", metadata={"litellm_parent_otel_span": litellms}) == "cheap"
    for span, known in ((litellms, WANTED), (own, {})):
        attributes = dict(span.attributes or {})  # type: ignore[attr-defined]
        assert attributes.pop("exacto.snapshot.id", None) is not None or not known
        assert attributes == known
