"""The JSON API: administrators only, plain data out of the snapshot, and no error where nothing is known."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

from exacto_plugin.audit.formatting import moment
from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, Flaw, LiteLLMId, Outcome, Sample
from exacto_plugin.core.routing.overrides import Override, OverrideAction
from exacto_plugin.core.scoring.attribution import Attribution
from exacto_plugin.core.windows.pairs import PairedAnswer
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.records import TransitionRecord
from exacto_plugin.store.location import StoreLocation, memory_location
from exacto_plugin.web.api import api_router, require_admin
from exacto_plugin.web.views import views_of
from tests.support.administrator import client_of
from tests.test_telemetry import NOW, _router

GROUP = "moonshotai/kimi"


def measured(place: StoreLocation | None = None) -> Runtime:
    """A runtime with verdicts on one model group, whose name has a slash."""
    rule = {"min_peers": 2, "tool_call_requests": 2}
    block = {"tiers": {"preset": "openrouter", "openrouter": rule}}
    runtime = Runtime(Settings.model_validate(block), lambda: NOW, place=place)
    router = _router(GROUP)
    runtime.routers.set_source(lambda: router)
    for key, outcome in (("a", Outcome.VALID), ("b", Outcome.VALID), ("c", Outcome.INVALID_JSON)):
        for _ in range(2):
            sample = Sample(GROUP, DeploymentKey(key), NOW, tools_offered=True, outcome=outcome)
            runtime.samples.record(sample, Candidate(LiteLLMId(key), DeploymentKey(key), f"provider-{key}"))
    asyncio.run(runtime.recomputer.recompute())
    return runtime


@pytest.fixture
def runtime() -> Runtime:
    """A runtime with verdicts, and without a store."""
    return measured()


@pytest.fixture
def client(runtime: Runtime) -> TestClient:
    """A client whose key is an administrator's."""
    return client_of(runtime)


def test_status(client: TestClient, runtime: Runtime) -> None:
    """What is in force and what went wrong so far."""
    runtime.context.faults.report("order", ValueError("not to be told"))
    found = client.get("/exacto/api/status").json()
    assert found["snapshot"] == runtime.engine.snapshot.id
    assert (found["mode"], found["default_sort"], found["preset"]) == ("apply", "auto", "openrouter")
    assert found["faults"] == {"order": 1}
    assert "not to be told" not in str(found)


def test_a_model_group(client: TestClient) -> None:
    """Each deployment with its tier, and each reason with the number and the threshold behind it."""
    found = client.get(f"/exacto/api/models/{GROUP}").json()
    tiers = {one["deployment"]: one["tier"] for one in found["deployments"]}
    assert tiers == {"a": "verified_good", "b": "verified_good", "c": "deranked", "d": "insufficient_data"}
    bad = next(one for one in found["deployments"] if one["deployment"] == "c")
    assert bad["provider"] == "provider-c"
    assert bad["signals"]["tool_call_success"] == {"value": 0.0, "samples": 2}
    reasons = {reason["signal"]: reason for reason in bad["reasons"]}
    assert reasons["tool_call_success"]["code"] == "below_threshold"
    assert reasons["tool_call_success"]["threshold"] == pytest.approx(
        found["references"]["tool_call_success"]["threshold"]
    )


def test_all_model_groups(client: TestClient) -> None:
    """The list holds what the single answers hold."""
    (group,) = client.get("/exacto/api/models").json()["model_groups"]
    assert group == client.get(f"/exacto/api/models/{GROUP}").json()


def test_what_is_observed(client: TestClient, runtime: Runtime) -> None:
    """Numbers that no tier follows from stand beside the verdict; what is not known yet is null."""
    for key, tokens in (("a", 300), ("b", 200), ("c", 200)):
        sample = Sample(GROUP, DeploymentKey(key), NOW, output_tokens=tokens, duration_s=2.0)
        for _ in range(250):
            runtime.samples.record(sample, Candidate(LiteLLMId(key), DeploymentKey(key), f"provider-{key}"))
    asyncio.run(runtime.observed_job.run_due())
    deployments = client.get(f"/exacto/api/models/{GROUP}").json()["deployments"]
    told = {one["deployment"]: one["observed"] for one in deployments}
    assert told["a"] == {
        "token_burn": {"value": 0.5, "samples": 250, "flagged": True},
        "queue_time": {"value": None, "p90": None, "samples": 0},
        "throughput_spread": {"value": pytest.approx(0.0, abs=1e-6), "samples": 250},
    }
    assert told["d"]["token_burn"] == {"value": None, "samples": 0, "flagged": False}


def test_rates_of_flaws(client: TestClient, runtime: Runtime) -> None:
    """The share of a deployment's answers with each flaw stands beside its verdict, and in ``why`` as a sentence."""
    candidate = Candidate(LiteLLMId("d"), DeploymentKey("d"), "provider-d")
    for flaws in [(Flaw.EMPTY,), *[()] * 19]:
        runtime.samples.record(Sample(GROUP, DeploymentKey("d"), NOW, flaws=flaws), candidate)
    deployments = client.get(f"/exacto/api/models/{GROUP}").json()["deployments"]
    told = {one["deployment"]: one["flaw_rates"] for one in deployments}
    numbers = {"since": NOW, "answers": 20, "rates": {"empty": 0.05}}
    rates = [{"window_s": window_s, **numbers} for window_s in (3600.0, 86_400.0)]
    assert (told["d"], [one["rates"] for one in told["a"]]) == (rates, [{}, {}])
    (why,) = client.get("/exacto/api/why", params={"deployment": "d"}).json()["answers"]
    assert why["flaw_rates"] == rates
    text = f"Of 20 answers since {moment(NOW)}, when this process counted the first, 5.00 % had neither text nor a call"
    assert f"{text} (empty)." in why_sentence(why)
    assert "Bad answers since" not in why_sentence(why), "the same, said twice"


def test_pairs(client: TestClient, runtime: Runtime) -> None:
    """A constant difference of prompts is told in ``why``, and decides nothing."""
    before = client.get(f"/exacto/api/models/{GROUP}").json()
    for tokens in range(100, 120):
        one, other = (
            PairedAnswer(DeploymentKey(name), tokens + more, valid=True) for name, more in (("a", 9), ("b", 0))
        )
        runtime.samples.pairs.add(GROUP, one, other)
    (why,) = client.get("/exacto/api/why", params={"deployment": "a"}).json()["answers"]
    numbers = {"pairs": 20, "counted": 20, "offset": 9, "share": 1.0, "valid": 1.0, "other_valid": 1.0}
    assert why["pairs"] == [{"other": "b", **numbers, "constant": True}]
    assert "In 100.0 % of 20 requests that b was sent too, it counted 9 prompt tokens more" in why_sentence(why)
    assert client.get(f"/exacto/api/models/{GROUP}").json()["deployments"] == before["deployments"]


def test_a_group_that_nobody_knows(client: TestClient) -> None:
    """Nothing is known of it: 404, and why."""
    answer = client.get("/exacto/api/models/nothing/here")
    assert (answer.status_code, answer.json()) == (404, {"detail": "there is no model group 'nothing/here'"})


def test_a_group_that_was_not_judged_yet(client: TestClient, runtime: Runtime) -> None:
    """Whether nobody asked for it or the first recompute is still to come is told apart from a wrong name."""
    router = _router(GROUP, "quiet", "new")
    runtime.routers.set_source(lambda: router)
    told = {name: client.get(f"/exacto/api/models/{name}").json()["detail"] for name in ("quiet", "new")}
    assert told == {name: f"{name!r} has had no requests lately, so it has no verdicts" for name in told}
    runtime.samples.record(
        Sample("new", DeploymentKey("a"), NOW), Candidate(LiteLLMId("a"), DeploymentKey("a"), "provider-a")
    )
    answer = client.get("/exacto/api/models/new")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "'new' has no verdicts yet; the next recompute is within 300 s"


def test_programs_see_what_the_api_shows(client: TestClient, runtime: Runtime) -> None:
    """The same plain data, before it is JSON and after."""
    runtime.samples.note_flaws(
        Attribution((Flaw.DUPLICATE_ID,)), GROUP, Candidate(LiteLLMId("a"), DeploymentKey("a"), "provider-a")
    )
    shown = client.get("/exacto/api/models").json()
    told = views_of(runtime).all()
    assert json.loads(json.dumps(told)) == shown
    assert shown["model_groups"][0]["deployments"][0]["flaws"] == {"duplicate_id": 1}
    assert "choices" in shown["model_groups"][0]["deployments"][0]
    assert not [key for key in told["model_groups"][0]["deployments"][0]["flaws"] if type(key) is not str]


@pytest.mark.parametrize("role", list(LitellmUserRoles))
async def test_only_administrators_may_look(role: LitellmUserRoles) -> None:
    """The proxy's administrators and their viewers, and no other role; least of all one that is not set."""
    allowed = role in (LitellmUserRoles.PROXY_ADMIN, LitellmUserRoles.PROXY_ADMIN_VIEW_ONLY)
    user = UserAPIKeyAuth(user_role=role)
    if allowed:
        assert await require_admin(user) is user
    else:
        with pytest.raises(HTTPException) as refused:
            await require_admin(user)
        assert refused.value.status_code == 403


async def test_no_role_is_no_administrator() -> None:
    """A key without a role is refused."""
    with pytest.raises(HTTPException):
        await require_admin(UserAPIKeyAuth(user_role=None))


def test_why_is_answered_without_a_store(client: TestClient) -> None:
    """What is in force needs none; what is past does, and says so."""
    found = client.get("/exacto/api/why", params={"deployment": "c"}).json()
    (answer,) = found["answers"]
    assert (answer["tier"], answer["past"], answer["model_group"]) == ("deranked", False, GROUP)
    assert answer["references"]["tool_call_success"]["peers"] == 3
    assert answer["way_back"] == [{"kind": "threshold", "signal": "tool_call_success", "above": 0.98}]
    assert found["store"]["state"] == "off"
    assert client.get("/exacto/api/why", params={"deployment": "nobody"}).json()["answers"] == []
    for path in ("why?deployment=c&at=1", "audit", "decisions/x", "report"):
        answer = client.get(f"/exacto/api/{path}")
        assert answer.status_code == 503
        assert "set store.url" in answer.json()["detail"]


def test_an_override_is_explained(client: TestClient, runtime: Runtime) -> None:
    """The word is told, and beside it what is measured."""
    word = Override(GROUP, DeploymentKey("c"), OverrideAction.GOOD, "vendor fixed it", "5a17", NOW, NOW + 60)
    runtime.engine.overrides.merge([word], NOW)
    (answer,) = client.get("/exacto/api/why", params={"deployment": "c"}).json()["answers"]
    assert (answer["tier"], answer["override"]["measured_tier"]) == ("verified_good", "deranked")
    told = why_sentence(answer, UTC)
    assert "because of an operator's override to good" in told
    assert "worse than the threshold" in told


def test_what_is_recorded_is_told() -> None:
    """The audit and single requests come from the store; filters are checked."""
    runtime = measured(memory_location())
    client = client_of(runtime)
    runtime.store.write(TransitionRecord(NOW, GROUP, "d", "verified_good", "deranked", [], "s"))
    assert runtime.store.flush()
    (entry,) = client.get("/exacto/api/audit", params={"kinds": ["transition"], "deployment": "d"}).json()["entries"]
    assert (entry["kind"], entry["previous"]) == ("transition", "verified_good")
    assert client.get("/exacto/api/audit", params={"kinds": ["gossip"]}).status_code == 422
    for refused in (
        "audit?kinds=decision&deployment=c",
        "report?since=1000&until=900",
        f"why?deployment=c&at={NOW + 60}",
        "why?deployment=c&at=nan",
        "report?since=nan",
        "audit?until=inf",
    ):
        assert client.get(f"/exacto/api/{refused}").status_code == 422
    missing = client.get("/exacto/api/decisions/x")
    assert missing.status_code == 404
    assert "store.decision_share" in missing.json()["detail"]
    assert client.get("/exacto/api/report").json()["model_groups"] == []
    told = client.get("/exacto/api/incidents").json()["incidents"]
    assert [(one["deployment"], one["open"]) for one in told] == [("c", True), ("d", True)]
    path = f"/exacto/api/incidents/{told[0]['id']}"
    assert client.get(path).json()["timeline"][0]["tier"] == "deranked"
    assert client.get(f"{path}/file").json()["summary"].startswith(f"c (provider provider-c) is deranked in {GROUP}")
    assert client.get("/exacto/api/incidents/none").status_code == 404
    series = client.get("/exacto/api/series", params={"model_group": GROUP, "until": NOW + 1}).json()
    assert series["deployments"]["c"]["tier"][-1] == "deranked"
    assert client.get("/exacto/api/series?model_group=g&since=9&until=8").status_code == 422
    runtime.store.close()


def test_what_is_declared_and_how_quick_it_is(client: TestClient, runtime: Runtime) -> None:
    """Prices of the configuration; percentiles are null as long as there are too few answers."""
    deployment = client.get(f"/exacto/api/models/{GROUP}").json()["deployments"][0]
    assert runtime.engine.watched(NOW) == (GROUP,)
    assert deployment["pace"] == {"throughput": None, "latency_s": None}
    assert deployment["declared"]["quantization"] == ""
    assert set(deployment["declared"]) == {"prompt_usd_per_million", "completion_usd_per_million", "quantization"}


def test_the_latest_bad_answers(client: TestClient, runtime: Runtime) -> None:
    """Kind, place in the schema and request; none for a deployment without any."""
    runtime.recorder.failures.note(NOW, GROUP, DeploymentKey("c"), "schema_mismatch", "dec-1", lambda: "/a#type")
    (told,) = client.get("/exacto/api/failures", params={"model_group": GROUP, "deployment": "c"}).json()["failures"]
    assert told == {"at": NOW, "kind": "schema_mismatch", "path": "/a#type", "request": "dec-1"}
    assert client.get("/exacto/api/failures", params={"model_group": GROUP, "deployment": "a"}).json() == {
        "failures": []
    }


def test_every_route_is_guarded(runtime: Runtime) -> None:
    """Whoever is no administrator gets nothing from any route."""
    app = FastAPI()
    router = api_router(runtime)
    app.include_router(router)
    app.dependency_overrides[user_api_key_auth] = lambda: UserAPIKeyAuth(user_role=LitellmUserRoles.INTERNAL_USER)
    paths = [route.path for route in router.routes]  # type: ignore[attr-defined]
    assert len(paths) >= 3
    for path in paths:
        assert TestClient(app).get(path.replace("{model_group:path}", GROUP)).status_code == 403
