"""A deployment breaks behind a real proxy: why, now and then; where requests went; and that all of it follows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import openai
import pytest

from exacto_plugin.cli.command import main
from exacto_plugin.demo.behaviour import Act
from tests.support.proxy.observation import api, eventually
from tests.support.proxy.openai_client import ask, config, prices
from tests.support.proxy.proxy import MASTER_KEY, Proxy, deployment
from tests.support.proxy.tier_setup import (
    BAD,
    GOOD,
    INSUFFICIENT,
    QUICK,
    bring_about,
    expected_tiers,
    fleet,
    names,
    seen_tiers,
)

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy

Capture = pytest.CaptureFixture[str]
GROUP, WATCHED = "kimi", "watched"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the proxy of this module keeps its records."""
    return f"sqlite:///{tmp_path_factory.mktemp('record')}/records.sqlite"


@pytest.fixture(scope="module")
def running(provider_server: SimulatedProviders, start_proxy: StartProxy, store: str) -> Proxy:
    """A fleet of which one breaks, the same under ``observe``, and a curated list that nobody is on."""
    entries = [entry for group in (GROUP, WATCHED) for entry in fleet(provider_server, group, **prices(1, 2))]
    entries.append(deployment(provider_server, "lonely", "listed"))
    proxy = start_proxy(
        config(
            entries,
            router={"num_retries": 3, "disable_cooldowns": True},
            tiers=QUICK,
            model_groups={WATCHED: {"mode": "observe"}},
            curated={"listed": ["nobody"]},
            rescue={"enabled": True},
            store={"url": store, "decision_share": 0.0},
        )
    )
    for name in names(GROUP):
        ask(proxy, name, tools=False)
    eventually(lambda: seen_tiers(proxy, GROUP), dict.fromkeys(names(GROUP), INSUFFICIENT))
    bring_about(proxy, provider_server, (GROUP, WATCHED))
    eventually(lambda: {name: _changes(proxy, name) for name in seen_tiers(proxy, GROUP)}, _expected_changes())
    return proxy


def _changes(proxy: Proxy, name: str) -> list[str]:
    """The tier a deployment came to last, as it is on record by now: records are written behind what is in force."""
    return [entry["tier"] for entry in api(proxy, f"audit?deployment={name}").json()["entries"][:1]]


def _expected_changes() -> dict[str, list[str]]:
    """What ``bring_about`` leaves on record."""
    return {name: [] if tier == INSUFFICIENT else [tier] for name, tier in expected_tiers(GROUP).items()}


@pytest.fixture
def proxy(running: Proxy, providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The proxy, over providers that begin anew; the key is where the command line looks for it."""
    monkeypatch.setenv("EXACTO_API_KEY", MASTER_KEY)
    return running


def plain(capsys: Capture, *arguments: str) -> Any:
    """What a verb says, as JSON."""
    assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def unwrapped(capsys: Capture) -> str:
    """The text that was printed, on one line: the width of the terminal decides where it is wrapped."""
    return " ".join(capsys.readouterr().out.split())


def on_record(proxy: Proxy, name: str) -> dict[str, Any]:
    """A request that must be on record, some seconds after its end."""
    eventually(lambda: api(proxy, f"decisions/{name}").status_code, 200)
    found: dict[str, Any] = api(proxy, f"decisions/{name}").json()
    return found


def test_why_with_the_proxy_and_from_its_store(proxy: Proxy, store: str, capsys: Capture) -> None:
    """Both say the same number against the same threshold, and since when."""
    (bad,) = names(GROUP, BAD)
    assert main(["why", bad, "--url", proxy.base_url]) == 0
    sentence = unwrapped(capsys)
    assert f"{bad} is deranked in {GROUP} since" in sentence
    assert "tool-call success over the last 2 h is 0.0 % (3 calls), worse than the threshold" in sentence
    assert "(all 4 with enough data: median" in sentence
    assert "comes back as soon as" in sentence
    live = plain(capsys, "why", bad, "--url", proxy.base_url)["answers"][0]
    kept = plain(capsys, "why", bad, "--store", store)["answers"][0]
    same = ("tier", "since", "reasons", "references", "way_back", "provider")
    assert {name: live[name] for name in same} == {name: kept[name] for name in same}


def test_why_then(proxy: Proxy, store: str, capsys: Capture) -> None:
    """Just before the change the tier was another one, over HTTP and from the store."""
    (bad,) = names(GROUP, BAD)
    (change,) = plain(capsys, "audit", "--deployment", bad, "--url", proxy.base_url)["entries"]
    assert (change["previous"], change["tier"]) == ("insufficient_data", "deranked")
    for place in (["--url", proxy.base_url], ["--store", store]):
        for at, tier in ((change["at"] + 0.01, "deranked"), (change["at"] - 0.01, "insufficient_data")):
            written = datetime.fromtimestamp(at, UTC).isoformat()
            (answer,) = plain(capsys, "why", bad, "--at", written, *place)["answers"]
            assert (answer["tier"], answer["past"]) == (tier, True)


def test_a_request_that_failed_over(proxy: Proxy, providers: SimulatedProviders, capsys: Capture) -> None:
    """By either id: who could have served, who was tried, and what came of it."""
    for name in names(GROUP, *GOOD):
        providers.control.behave(name, next=(500,))
    reply = ask(proxy, GROUP)
    told = on_record(proxy, reply.headers["x-exacto-decision"])
    assert told["kind"] == "failed_over"
    assert told["call_id"] == reply.headers["x-litellm-call-id"]
    assert [one["status"] for one in told["attempts"]][-1] == "answered"
    assert {one["status"] for one in told["attempts"][:-1]} == {"server_error"}
    assert told["attempts"][-1]["verdict"] == "valid"
    tiers = {one["deployment"]: one["tier"] for one in told["candidates"]}
    assert tiers == seen_tiers(proxy, GROUP)
    reasons = {one["deployment"]: one["reasons"] for one in told["candidates"]}
    assert all(reasons.values())
    assert main(["why", "--request", told["call_id"], "--url", proxy.base_url]) == 0
    sentence = unwrapped(capsys)
    assert "had the policy auto" in sentence
    assert "failed with server_error" in sentence


def test_requests_out_of_the_ordinary_are_kept_and_others_are_not(proxy: Proxy, providers: SimulatedProviders) -> None:
    """A rescued one with its cost, one that a curated list refused; not one that chance did not take."""
    ordinary = ask(proxy, GROUP).headers["x-exacto-decision"]
    for name in names(GROUP, *GOOD):
        providers.control.behave(name, next=(Act.INVALID_JSON,))
    rescued = on_record(proxy, ask(proxy, GROUP).headers["x-exacto-decision"])
    assert rescued["kind"] in ("rescued", "rescue_failed")
    assert rescued["rescue_cost"] > 0
    assert rescued["attempts"][1]["rescue"]
    with pytest.raises(openai.NotFoundError) as caught:
        ask(proxy, "listed:exacto")
    refused = on_record(proxy, caught.value.response.headers["x-litellm-call-id"])
    assert (refused["kind"], refused["attempts"], refused["suffixes"]) == ("refused", [], ["exacto"])
    missing = api(proxy, f"decisions/{ordinary}")
    assert missing.status_code == 404
    assert "store.decision_share" in missing.json()["detail"]


def test_the_report_counts_every_request(
    proxy: Proxy, providers: SimulatedProviders, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under ``observe`` a fifth of the picks or more would change; the bad one's answers are what that would save."""
    providers.control.behave(names(WATCHED, BAD)[0], always=Act.INVALID_JSON)
    asked = 40
    before = _watched(proxy)
    for _ in range(asked):
        ask(proxy, WATCHED)
    eventually(lambda: _watched(proxy).get("requests", 0) - before.get("requests", 0), asked)
    found = _watched(proxy)
    assert found["applied"] == 0.0
    assert 0.19 < found["changed"]["value"] < 0.41, "the bad one, and the new one until it is verified"
    assert found["bad"]["saved"]["value"] == 0.0, "nothing was applied"
    assert found["bad"]["would_save"]["value"] > 0
    assert found["spend_usd"]["without"]["value"] > 0
    # In a narrow table the numbers stand between the lines of a row's name.
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["report", "--url", proxy.base_url, "--model", WATCHED]) == 0
    assert "picks that would go elsewhere" in capsys.readouterr().out


def _watched(proxy: Proxy) -> dict[str, Any]:
    groups = api(proxy, "report").json()["model_groups"]
    return next((group for group in groups if group["model_group"] == WATCHED), {})


def test_tiers_from_the_proxy_and_from_its_store(proxy: Proxy, store: str, capsys: Capture) -> None:
    """The same deployments in the same tiers, as soon as they are on record."""

    def told(*place: str) -> dict[str, str]:
        groups = plain(capsys, "tiers", *place)["model_groups"]
        return {one["deployment"]: one["tier"] for group in groups for one in group["deployments"]}

    assert set(told("--url", proxy.base_url)) == {*names(GROUP), *names(WATCHED)}
    eventually(lambda: told("--url", proxy.base_url) == told("--store", store), True)


def test_only_administrators_ask(proxy: Proxy) -> None:
    """What is recorded is told to nobody else."""
    for path in ("why?deployment=kimi-bad", "audit", "decisions/x", "report"):
        assert api(proxy, path, key="sk-of-somebody").status_code >= 400


def test_all_of_it_follows_also_when_the_proxy_is_gone(proxy: Proxy, store: str, capsys: Capture) -> None:
    """Verified bit for bit while the proxy writes, and after its end, when the store alone answers."""
    while_it_runs = plain(capsys, "audit", "verify", "--store", store)
    proxy.stop()
    (bad,) = names(GROUP, BAD)
    assert plain(capsys, "why", bad, "--url", proxy.base_url, "--store", store)["answers"][0]["tier"] == "deranked"
    found = plain(capsys, "audit", "verify", "--store", store)
    assert while_it_runs["differences"] == found["differences"] == []
    assert found["transitions"] >= 8
    assert found["without_inputs"] == 0
