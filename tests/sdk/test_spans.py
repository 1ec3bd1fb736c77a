"""Decision and answer of a request on the span that LiteLLM made for it, through LiteLLM's own router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import eventually
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


def attributes_of(span: Any) -> dict[str, Any]:
    """Its attributes so far."""
    return dict(span.attributes or {})


def answered(either: Program, span: Any) -> None:
    """Wait for the log event of the answer, which comes after it."""

    def seen() -> bool:
        either.idle()
        return "exacto.request.outcome" in attributes_of(span)

    eventually(seen, True)


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
    answered(either, litellms)
    for span, known in ((litellms, {**WANTED, "exacto.request.outcome": "valid"}), (own, {})):
        attributes = attributes_of(span)
        assert attributes.pop("exacto.snapshot.id", None) is not None or not known
        assert attributes == known


@pytest.mark.parametrize(
    ("act", "tools", "wanted"),
    [
        (Act.LEAKED_MARKUP, True, ("lost", ("leaked_markup",), "provider")),
        (Act.TRUNCATED, True, ("cut_short", ("truncated",), "limit")),
        (Act.EMPTY, False, ("broken", ("empty",), "provider")),
        (Act.CORRUPT, False, ("broken", ("corrupt",), "provider")),
    ],
)
def test_flaws_are_on_the_span(
    providers: SimulatedProviders,
    make_exacto: Callable[..., Exacto],
    either: Program,
    act: Act,
    tools: bool,
    wanted: tuple[str, tuple[str, ...], str],
) -> None:
    """Of any answer, with the party that they are attributed to."""
    router = litellm.Router(model_list=[deployment(providers, "only")], num_retries=0)
    exacto = make_exacto()
    exacto.attach(router)
    providers.control.behave("only", next=[act])
    span = TracerProvider().get_tracer("of the tests").start_span("LiteLLM's")
    either.ask(router, "kimi", tools=tools, metadata={"litellm_parent_otel_span": span})
    answered(either, span)
    names = ("exacto.request.outcome", "exacto.answer.flaws", "exacto.blame")
    assert tuple(attributes_of(span).get(name) for name in names) == wanted
