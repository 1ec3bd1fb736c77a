"""What operators declare, and who is who: limits, weights, changes under one id, accounts, wildcards."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Sample
from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from tests.support.runtimes import NOW, settings

ADAPTIVE = {"preset": "adaptive", "adaptive": {"phi_start": 1.0}}


def limited(*limits: dict[str, Any], **params: Any) -> litellm.Router:
    """A router with the group ``g`` of deployments ``a``, ``b``, ... that have these limits."""
    base = {"model": "openai/m", "api_base": "http://127.0.0.1:9", "api_key": "sk-secret", "weight": 1, **params}
    entries = [
        {"model_name": "g", "litellm_params": {**base, **limit}, "model_info": {"id": key}}
        for key, limit in zip("abc", limits, strict=False)
    ]
    return litellm.Router(model_list=entries)


def serve(runtime: Runtime, tokens: int = 0) -> None:
    """A hundred good calls of ``a`` and ``b``, and as many bad ones of ``c``: 20 requests a minute in all."""
    for key, outcome in (("a", Outcome.VALID), ("b", Outcome.VALID), ("c", Outcome.INVALID_JSON)):
        sample = Sample("g", DeploymentKey(key), NOW, tools_offered=True, outcome=outcome, input_tokens=tokens)
        for _ in range(100):
            runtime.samples.record(sample, Candidate(LiteLLMId(key), DeploymentKey(key)))


@pytest.mark.parametrize(
    ("limits", "tokens", "tier"),
    [
        ([{}, {}, {}], 100, "deranked"),
        ([{"rpm": 15}, {"rpm": 15}, {}], 100, "deranked"),
        ([{"rpm": 5}, {"rpm": 5}, {}], 100, "insufficient_data"),
        ([{"rpm": 5}, {}, {}], 100, "deranked"),
        ([{"tpm": 500}, {"tpm": 500}, {}], 100, "insufficient_data"),
        ([{"tpm": 500}, {"tpm": 500}, {}], 10, "deranked"),
        ([{"tpm": 500}, {"tpm": 500}, {}], 0, "deranked"),
        ([{"rpm": 5}, {"rpm": 5}, {"rpm": 0}], 100, "deranked"),
    ],
)
async def test_the_rest_must_be_able_to_carry_the_traffic(limits: list[Any], tokens: int, tier: str) -> None:
    """A bad deployment stays in the pool when the limits of the others are too low for what is asked for."""
    runtime, one = Runtime(settings(**ADAPTIVE), clock=lambda: NOW), limited(*limits)
    runtime.routers.add(one)
    serve(runtime, tokens)
    await runtime.recomputer.recompute()
    verdicts = runtime.engine.snapshot.groups["g"].verdicts
    assert verdicts[DeploymentKey("c")].tier == tier
    assert (verdicts[DeploymentKey("c")].reasons[0].code == "capacity") is (tier == "insufficient_data")
    assert verdicts[DeploymentKey("a")].tier == verdicts[DeploymentKey("b")].tier == "verified_good"


async def test_weights_decide_when_the_good_ones_cover_the_traffic() -> None:
    """Newcomers with little weight do not keep the tiers merged; with most of the weight they do."""
    for weight, rest, merged in ((9, 1, False), (1, 4, True)):
        runtime = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
        one = limited({"weight": weight}, {"weight": weight}, {"weight": rest})
        runtime.routers.add(one)
        for key in "ab":
            sample = Sample("g", DeploymentKey(key), NOW, tools_offered=True, outcome=Outcome.VALID)
            for _ in range(300):
                runtime.samples.record(sample, Candidate(LiteLLMId(key), DeploymentKey(key)))
        await runtime.recomputer.recompute()
        assert runtime.engine.snapshot.groups["g"].merge_tiers is merged


async def tier_after(runtime: Runtime, one: litellm.Router, **changes: Any) -> str:
    """Change ``c`` as an operator does at run time, recompute, and tell its tier."""
    known = one.get_deployment("c")
    assert known is not None
    params = {**known.litellm_params.model_dump(exclude_none=True), **changes}
    one.upsert_deployment(litellm.Deployment("g", litellm.LiteLLM_Params(**params), known.model_info))
    await runtime.recomputer.recompute()
    return runtime.engine.snapshot.groups["g"].verdicts[DeploymentKey("c")].tier.value


@pytest.mark.parametrize(
    "change",
    [
        {"model": "openai/m-fp8"},
        {"api_base": "http://127.0.0.1:9/other"},
        {"api_base": "http://127.0.0.2:9"},
        {"api_version": "2026-01-01"},
        {"extra_body": {"provider": {"only": ["x"]}}},
    ],
)
async def test_another_deployment_under_the_same_id_starts_anew(change: dict[str, Any]) -> None:
    """Its predecessor's failures are not its own; what only looks like a change leaves the evidence alone."""
    runtime, one = Runtime(settings(**ADAPTIVE), clock=lambda: NOW), limited({}, {}, {})
    runtime.routers.add(one)
    serve(runtime)
    assert await tier_after(runtime, one, api_key="sk-first") == "deranked"
    same = {"api_key": "sk-rotated", "rpm": 1000, "order": 3, "timeout": 9, "api_base": "HTTP://127.0.0.1:9/?key=x"}
    assert await tier_after(runtime, one, **same) == "deranked"
    assert await tier_after(runtime, one, **change) == "insufficient_data"


async def test_a_restart_of_the_process_is_no_change() -> None:
    """What was remembered goes on; only what became another deployment meanwhile starts anew."""
    before = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
    attached = limited({}, {}, {})
    before.routers.add(attached)
    serve(before)
    await before.recomputer.recompute()
    for model, tier in (("openai/m", "deranked"), ("openai/other", "insufficient_data")):
        after = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
        after.engine.load(before.engine.dump())
        started = limited({}, {}, {"model": model}, api_key="sk-other")
        after.routers.add(started)
        serve(after)
        await after.recomputer.recompute()
        assert after.engine.snapshot.groups["g"].verdicts[DeploymentKey("c")].tier == tier


async def test_accounts_of_one_provider_in_any_order_are_one_deployment() -> None:
    """A further key, and another order of the list, leave the evidence of deployments without an id alone."""
    params = {"model": "openai/m", "weight": 1}
    entries = [
        {"model_name": "g", "litellm_params": {**params, "api_base": f"http://{host}:9", "api_key": key}}
        for host, key in (("a", "k1"), ("b", "k2"), ("c", "k3"), ("c", "k4"))
    ]
    current = [litellm.Router(model_list=entries[:3])]
    runtime = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
    runtime.routers.set_source(lambda: current[0])
    keys = [candidate_of(one).key for one in current[0].model_list]
    for key, outcome in zip(keys, (Outcome.VALID, Outcome.VALID, Outcome.INVALID_JSON), strict=True):
        for _ in range(100):
            runtime.samples.record(
                Sample("g", key, NOW, tools_offered=True, outcome=outcome), Candidate(LiteLLMId(key), key)
            )
    for model_list in (entries[:3], entries, entries[::-1]):
        current[0] = litellm.Router(model_list=model_list)
        await runtime.recomputer.recompute()
        assert runtime.engine.snapshot.groups["g"].verdicts[keys[2]].tier == "deranked"


async def test_what_cannot_be_read_limits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in reading declarations is counted, and verdicts go on without them."""
    runtime, one = Runtime(settings(**ADAPTIVE), clock=lambda: NOW), limited({"rpm": 1}, {"rpm": 1}, {})
    runtime.routers.add(one)
    serve(runtime)
    monkeypatch.setattr("exacto_plugin.litellm_hooks.runtime.roster_sync.picks_by_weight", None)
    await runtime.recomputer.recompute()
    assert runtime.engine.snapshot.groups["g"].verdicts[DeploymentKey("c")].tier == "deranked"
    assert runtime.context.faults.counts == {"declared": 1}


async def test_wildcards_have_verdicts_per_model() -> None:
    """Deployments behind a pattern are peers of each other under the name that was asked for."""
    params = {"model": "openai/*", "api_key": "k"}
    entries = [
        {"model_name": "w/*", "litellm_params": {**params, "api_base": f"http://{key}:9"}, "model_info": {"id": key}}
        for key in "ab"
    ]
    one = litellm.Router(model_list=entries)
    runtime = Runtime(settings(**ADAPTIVE), clock=lambda: NOW)
    runtime.routers.add(one)
    healthy = await one.async_get_healthy_deployments("w/m", request_kwargs={}, parent_otel_span=None)
    for deployment, outcome in zip(healthy, (Outcome.VALID, Outcome.INVALID_JSON), strict=True):
        candidate = candidate_of(deployment, "w/m")
        for _ in range(100):
            runtime.samples.record(Sample("w/m", candidate.key, NOW, tools_offered=True, outcome=outcome), candidate)
    await runtime.recomputer.recompute()
    tiers = {name: verdict.tier.value for name, verdict in runtime.engine.snapshot.groups["w/m"].verdicts.items()}
    assert tiers == {"a:w/m": "verified_good", "b:w/m": "deranked"}
