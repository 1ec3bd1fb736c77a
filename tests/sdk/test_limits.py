"""Limits in a program: what settings rule out is not called by its id either, async and sync, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin import Exacto, ExactoRefusedError
from exacto_plugin.litellm_hooks.features import Feature, Gap
from tests.support.proxy.observation import eventually
from tests.support.proxy.openai_client import asked, prices
from tests.support.proxy.proxy import deployment
from tests.support.routers import failures_this_minute

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.sdk.conftest import Program

    MakeExacto = Callable[..., Exacto]

LIMITS: tuple[dict[str, Any], ...] = (
    {"only": ["eu"]},
    {"ignore": ["us"]},
    {"max_price": {"prompt": 1}},
    {"quantizations": ["fp8"]},
    {"data_collection": "deny"},
    {"zdr": True},
)
"""Each of them rules out one of the two deployments."""
DECLARED: dict[str, dict[str, Any]] = {
    "good": {"provider": "eu", "quantization": "fp8", "zdr": True},
    "bad": {"provider": "us"},
}


def make_router(providers: SimulatedProviders, **more: Any) -> litellm.Router:
    """A model group of one deployment that every limit allows and one that none does, and one that always fails."""
    places = {"good": 1.0, "bad": 2.0}
    entries = [
        deployment(providers, name, "kimi", info=DECLARED[name], **prices(price, price))
        for name, price in places.items()
    ]
    entries.append(deployment(providers, "stuck", "stuck", info=DECLARED["good"], **prices(1, 1)))
    providers.control.behave("stuck", always=500)
    return litellm.Router(model_list=entries, **{"num_retries": 0, "disable_cooldowns": True, **more})


@pytest.mark.parametrize("place", ["settings", "model group"])
@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: next(iter(limit)))
def test_every_limit_holds_for_a_named_deployment(
    providers: SimulatedProviders, make_exacto: MakeExacto, program: Program, limit: dict[str, Any], place: str
) -> None:
    """Named alone, with a suffix, and as a fallback; what the client wishes beside it makes no difference."""
    router = make_router(providers)
    make_exacto(**(limit if place == "settings" else {"model_groups": {"kimi": limit}})).attach(router)
    for more in ({"model": "bad"}, {"model": "bad:exacto"}, {"model": "bad", "provider": {"order": ["us"]}}):
        with pytest.raises(ExactoRefusedError, match=next(iter(limit))) as raised:
            program.ask(router, **more)
        assert raised.value.refusal.status == 404
    for fallbacks in (["bad"], [{"model": "bad:exacto"}], [{"stuck": ["bad"]}]):
        with pytest.raises(litellm.InternalServerError):
            program.ask(router, "stuck", fallbacks=fallbacks)
    assert asked(providers, ["bad"]) == {"bad": 0}
    assert {program.ask(router, model) for model in ("good", "good:exacto", "kimi")} == {"good"}
    assert program.ask(router, "stuck", fallbacks=["bad", "good"]) == "good"
    assert asked(providers, ["bad"]) == {"bad": 0}


def test_wishes_are_skipped_for_a_named_deployment(
    providers: SimulatedProviders, make_exacto: MakeExacto, program: Program
) -> None:
    """Who names a deployment has it, whatever else the request wishes, and whatever curated list there is."""
    router = make_router(providers)
    make_exacto(curated={"kimi": ["good"]}, ignore=["nobody"]).attach(router)
    assert program.ask(router, "bad:exacto", provider={"ignore": ["us"], "max_price": {"prompt": 1}}) == "bad"


def test_one_id_in_several_model_groups(
    providers: SimulatedProviders, make_exacto: MakeExacto, either: Program
) -> None:
    """Named by its id, a deployment is under the limits of all of them; by a model group, under those of that one."""
    entries = [deployment(providers, "twice", group, info={"provider": "us"}) for group in ("first", "second")]
    for limited in ("first", "second"):
        router = litellm.Router(model_list=entries, num_retries=0)
        exacto = make_exacto(model_groups={limited: {"only": ["eu"]}}).attach(router)
        for refused in ("twice", limited):
            with pytest.raises(ExactoRefusedError, match="only"):
                either.ask(router, refused)
        other = "second" if limited == "first" else "first"
        assert either.ask(router, other) == "twice"
        exacto.close()


def test_a_refusal_is_no_failure(providers: SimulatedProviders, make_exacto: MakeExacto, program: Program) -> None:
    """Who may not ask a deployment cannot have LiteLLM count it as failing, nor use up what its limits allow."""
    router = make_router(providers, disable_cooldowns=False, routing_strategy="latency-based-routing")
    make_exacto(only=["eu"]).attach(router)
    for _ in range(20):
        with pytest.raises(ExactoRefusedError):
            program.ask(router, "bad")
    for fallbacks in (["bad"], ["good"]):
        try:
            program.ask(router, "stuck", fallbacks=fallbacks)
        except litellm.InternalServerError:
            program.idle()
    eventually(
        lambda: failures_this_minute(router, "stuck") > 0, True
    )  # LiteLLM tells of synchronous calls in a thread
    assert failures_this_minute(router, "bad") == 0
    assert not [key for key in router.cache.in_memory_cache.cache_dict if "bad" in key and "rpm" in key]


@pytest.mark.parametrize("model", ["kimi", "bad"])
def test_a_synchronous_call_without_a_way_to_filter_is_refused(
    providers: SimulatedProviders, make_exacto: MakeExacto, model: str
) -> None:
    """A model group's limits hold for its deployments' ids too where a limit can only be kept by a refusal."""
    router = make_router(providers)
    exacto = make_exacto(model_groups={"kimi": {"zdr": True}}).attach(router)
    exacto._runtime.context.features.lose([Gap("Router.x", (Feature.SYNC,), "synchronous calls are LiteLLM's own")])
    with pytest.raises(ExactoRefusedError, match="zdr = 'cannot be applied"):
        router.completion(model=model, messages=[{"role": "user", "content": "hello"}])
