"""One answer to what the operator allows, for whatever led to a deployment; and what happens where it fails."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm.router_utils.fallback_event_handlers import _trigger_cooldown_for_failed_deployment

from exacto_plugin.config.settings import Settings, load_settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.core.routing.policy import Filter, Policy
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.key_defaults import NO_DEFAULTS, Defaults
from exacto_plugin.litellm_hooks.request.operator_limits import limits_of, own_limits, picked_of
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState
from exacto_plugin.litellm_hooks.routing import final_check
from exacto_plugin.litellm_hooks.routing.final_check import nobody_was_called
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from tests.support.routers import failures_this_minute

if TYPE_CHECKING:
    from collections.abc import Iterator

ZDR = Filter("zdr", ("true",), "set for this proxy")
US = Filter("ignore", ("us",), "set for this model")
KEY = Filter("only", ("eu",), "set for this key")


def entry(name: str, group: str, provider: str, model: str = "openai/m", **info: Any) -> dict[str, Any]:
    """One deployment."""
    params = {"model": model, "api_key": "sk-x", "input_cost_per_token": 2e-6, "output_cost_per_token": 2e-6}
    return {"model_name": group, "litellm_params": params, "model_info": {"id": name, "provider": provider, **info}}


ROUTER = litellm.Router(
    model_list=[
        entry("d2", "d", "us"),
        entry("twice", "h", "us"),
        entry("twice", "d", "us"),
        entry("wild", "w/*", "us", "openai/*"),
        entry("team", "model_name_t_1", "us", team_id="t", team_public_model_name="public"),
    ]
)


@pytest.fixture(autouse=True)
def state() -> Iterator[RequestState]:
    """A request that no filter was asked about."""
    state = RequestState(http=True)
    token = CURRENT.set(state)
    yield state
    CURRENT.reset(token)


def callback_of(**settings: Any) -> ExactoCallback:
    """The hooks over the router."""
    runtime = Runtime(load_settings(settings))
    runtime.routers.add(ROUTER)
    return ExactoCallback(runtime)


def call(litellm_id: str, group: str | None = None, key: object = None, **more: Any) -> dict[str, Any]:
    """What LiteLLM calls a deployment with that was named by its id, or found in ``group``."""
    metadata: dict[str, Any] = {"model_group": group or litellm_id, "deployment_model_name": group}
    if key is not None:
        metadata["user_api_key_metadata"] = {"exacto": key}
    return {"model": "openai/m", "model_info": {"id": litellm_id}, "metadata": metadata, **more}


def test_everybody_who_limits() -> None:
    """Settings, model groups, key and team add up, each once."""
    settings = load_settings({"zdr": True, "model_groups": {"h": {"ignore": ["us"]}}})
    assert limits_of(settings, Defaults(None, (KEY,)), ("d", "h", "h")) == (KEY, ZDR, US)
    assert limits_of(Settings(), NO_DEFAULTS, ("h",)) == ()
    assert own_limits(settings, entry("x", "h", "us"), "any") == (US,)
    assert own_limits(settings, entry("x", "h", "us"), "h") == ()
    assert own_limits(settings, entry("x", "m", "us", team_public_model_name="h"), "any") == (US,)


@pytest.mark.parametrize(
    ("kwargs", "groups", "named"),
    [
        (call("d2"), ("d",), True),
        (call("d2", "d"), ("d",), False),
        (call("twice"), ("h", "d"), True),
        (call("twice", "h"), ("h",), False),
        (call("twice", "w/*"), ("d",), False),
        (call("team"), ("model_name_t_1", "public"), True),
        ({**call("x"), "model_info": {"id": "x", "original_model_id": "d2"}}, ("d",), True),
        (call("unknown", "elsewhere"), ("elsewhere",), False),
    ],
    ids=str,
)
def test_who_is_about_to_be_called(kwargs: dict[str, Any], groups: tuple[str, ...], named: bool) -> None:
    """Its model groups are those that the operator wrote it into."""
    runtime = callback_of(model_groups={"h": {"ignore": ["us"]}}).runtime
    picked = picked_of(runtime.routers, runtime.context.settings, kwargs, kwargs["metadata"])
    assert picked is not None
    assert (picked.groups, picked.named) == (groups, named)


NAMES = ("x:exacto", "x:floor:exacto", f"{'x' * 600}:exacto", f"x{':exacto' * 9}")
"""Some that the middleware leaves whole where there are too many of them, and some that it always leaves whole."""


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[-20:])
@pytest.mark.parametrize("settings", ["curated", "model_groups"])
def test_unresolved_suffixes_escape_nothing(name: str, settings: str) -> None:
    """A wildcard matches a name with its suffixes too; what holds for the name without them holds for it."""
    base, held = f"w/{name.split(':')[0]}", {"curated": ["eu"], "model_groups": {"only": ["eu"]}}
    hooks, kwargs = callback_of(**{settings: {base: held[settings]}}), {"metadata": {"model_group": f"w/{name}"}}
    with pytest.raises(ExactoRefusedError, match=r"curated|only"):
        asyncio.run(hooks.routing.filter(f"w/{name}", [entry("wild", "w/*", "us")], kwargs))
    served = entry("wild", "w/*", "eu")
    assert asyncio.run(hooks.routing.filter(f"w/{name}", [served], kwargs)) == [served]


def test_suffixes_of_others_are_left_alone() -> None:
    """OpenRouter reads the suffixes itself, and a configured name is that of its own model."""
    hooks = callback_of(curated={"w/x": ["eu"], "h": ["eu"]})
    kwargs = {"metadata": {"model_group": "w/x:exacto"}}
    whole = entry("o", "w/*", "us", "openrouter/*")
    assert asyncio.run(hooks.routing.filter("w/x:exacto", [whole], kwargs)) == [whole]
    plain = entry("wild", "w/*", "us")
    assert asyncio.run(hooks.routing.filter("w/x:free", [plain], kwargs)) == [plain]


def test_direct_calls_are_nobodys_deployment() -> None:
    """A program that calls a provider itself picks nothing."""
    runtime = callback_of().runtime
    assert picked_of(runtime.routers, runtime.context.settings, {"model": "openai/m"}, {}) is None


@pytest.mark.parametrize(
    ("settings", "litellm_id", "key", "named"),
    [
        ({"only": ["eu"]}, "d2", None, "only"),
        ({"model_groups": {"d": {"zdr": True}}}, "d2", None, "zdr"),
        ({"model_groups": {"h": {"zdr": True}}}, "d2", None, ""),
        ({"model_groups": {"h": {"zdr": True}}}, "twice", None, "zdr"),
        ({"model_groups": {"w/*": {"max_price": {"prompt": 1}}}}, "wild", None, "max_price"),
        ({"model_groups": {"public": {"only": ["eu"]}}}, "team", None, "only"),
        ({}, "d2", {"ignore": ["us"]}, "ignore"),
        ({}, "d2", {"quantizations": ["fp8"]}, "quantizations"),
        ({}, "d2", {"data_collection": "deny"}, "data_collection"),
        ({}, "d2", {"data_collection": "allow", "zdr": False, "only": ["US"]}, ""),
        ({}, "unknown", {"only": ["eu"]}, "only"),
    ],
    ids=str,
)
def test_named_deployments(
    state: RequestState, settings: dict[str, Any], litellm_id: str, key: object, named: str
) -> None:
    """Refused where the operator rules them out, whoever of its model groups does; else called, and scored."""
    callback = callback_of(**settings)
    if named:
        with pytest.raises(ExactoRefusedError, match=f"No deployment of {litellm_id} is left by {named}"):
            callback.record_attempt(call(litellm_id, key=key))
        assert [(one.status, one.type, one.param) for one in state.routing.refusals] == [
            (404, "exacto_no_endpoints", named)
        ]
        assert not state.attempts
    else:
        assert callback.record_attempt(call(litellm_id, key=key)).tried == {litellm_id}


@pytest.mark.parametrize(
    "field",
    [
        {"custom_llm_provider": "eu"},
        {"api_base": "https://api.eu.example"},
        {"input_cost_per_token": 0, "output_cost_per_token": 0},
        {"model": "eu/m"},
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [{"only": ["eu"]}, {"max_price": {"prompt": 1}}], ids=str)
def test_a_clients_fields_are_not_the_operators(key: object, field: dict[str, Any]) -> None:
    """LiteLLM lets some of a client's fields take the place of the operator's: they say nothing of the deployment."""
    with pytest.raises(ExactoRefusedError):
        callback_of().record_attempt({**call("d2", key=key), **field})


def test_a_fallback_to_a_named_deployment(state: RequestState) -> None:
    """What the filters let pass of the model group before says nothing of the deployment that is named after it."""
    callback = callback_of(model_groups={"d": {"ignore": ["us"]}})
    state.routing.policy, state.model_group = Policy(), "other"
    state.routing.candidates = {"d2": Candidate(LiteLLMId("d2"), DeploymentKey("d2"), "eu")}
    with pytest.raises(ExactoRefusedError):
        callback.record_attempt({**call("d2"), "fallback_depth": 1})


@pytest.mark.parametrize("promised", [True, False])
async def test_what_cannot_be_told_is_closed(monkeypatch: pytest.MonkeyPatch, promised: bool) -> None:
    """A fault of ours refuses where somebody relies on a limit, and is nobody's business elsewhere."""
    callback = callback_of()
    monkeypatch.setattr(final_check, "picked_of", None)
    kwargs = call("d2", key={"only": ["us"]} if promised else None)
    if promised:
        with pytest.raises(ExactoRefusedError, match="could not be evaluated"):
            await callback.async_pre_call_deployment_hook(kwargs, None)
    else:
        assert await callback.async_pre_call_deployment_hook(kwargs, None) == kwargs
    assert callback.faults.counts == {"filter": 1}


async def test_a_model_group_under_another_name() -> None:
    """The limits of a deployment's own model group hold for whoever asks for it by another name."""
    callback = callback_of(model_groups={"h": {"ignore": ["us"]}})
    eu, us = entry("h1", "h", "eu"), entry("h2", "h", "us")
    kept = await callback.async_filter_deployments("any", [eu, us], None, {})
    assert kept == [eu]
    with pytest.raises(ExactoRefusedError, match="ignore"):
        await callback.async_filter_deployments("any", [us], None, {})
    assert callback.hard_filter_of("any", {}, [us]) == "ignore"
    assert callback.hard_filter_of("any", {}, [entry("d1", "d", "eu")]) is None


def test_a_refused_call_is_nobodys() -> None:
    """What LiteLLM tells of it names no deployment; what it tells of others is left alone."""
    info = {"id": "d2"}
    details: dict[str, Any] = {"litellm_params": {"model_info": info, "metadata": {"model_group": "d2"}}}
    nobody_was_called(details)
    assert details == {"litellm_params": {"model_info": {}, "metadata": {"model_group": "d2"}}}
    assert info == {"id": "d2"}
    for odd in ({}, {"litellm_params": None}):
        nobody_was_called(odd)


def test_a_refused_fallback_is_no_failure() -> None:
    """LiteLLM counts what fails in a fallback by itself, towards a cooldown of the deployment that it had picked."""
    counted: list[int] = []
    router: Any = ROUTER
    if hasattr(ROUTER, "health"):
        router = import_module("litellm.router_api").RoutingContext(ROUTER)
    for error in (_refusal(), litellm.BadRequestError("no", "d2", "openai")):
        vars(error)["failed_deployment_id"] = "d2"  # LiteLLM's router says so on its way out
        before = failures_this_minute(ROUTER, "d2")
        _trigger_cooldown_for_failed_deployment(router, kwargs={}, exception=error, model_call_details={})
        counted.append(failures_this_minute(ROUTER, "d2") - before)
    assert counted == [0, 1]


def _refusal() -> ExactoRefusedError:
    with pytest.raises(ExactoRefusedError) as raised:
        callback_of(only=["eu"]).record_attempt(call("d2"))
    return raised.value


def test_a_hop_to_another_entry(state: RequestState) -> None:
    """A call made for another fallback entry than the filters were applied for keeps that entry's curated list."""
    callback = callback_of(curated={"d": ["eu"]})
    state.routing.policy = Policy()
    call = {"model_info": {"id": "d2"}, "exacto_suffixes": "exacto", "model": "openai/m"}
    metadata = {"model_group": "d", "deployment_model_name": "d"}
    last = callback.routing.final_check
    state.series.key = ("d", "exacto")
    last.keep(state, call, metadata)
    for assumed in ("floor", "", None):
        state.series.key = ("d", assumed)
        with pytest.raises(ExactoRefusedError) as refused:
            last.keep(state, call, metadata)
        assert refused.value.refusal.param == "curated"
        last.keep(state, {**call, "exacto_suffixes": "floor"}, metadata)
