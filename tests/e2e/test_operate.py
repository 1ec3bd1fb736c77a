"""What an operator does to a running proxy of two workers: override tiers, change settings, look at what is refused."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import openai
import pytest
import yaml

from exacto_plugin.cli.command import main
from tests.support.proxy.observation import api, eventually, from_every_worker
from tests.support.proxy.openai_client import ask, asked, config, error_of, post, prices
from tests.support.proxy.proxy import MASTER_KEY, deployment
from tests.support.proxy.questions import MESSAGES

if TYPE_CHECKING:
    from exacto_plugin.demo.provider import SimulatedProviders
    from tests.e2e.conftest import StartProxy
    from tests.support.proxy.proxy import Proxy

WORKERS = 2
REQUESTS = 8
KEYS: dict[str, dict[str, Any]] = {"sk-kimi": {"models": ["kimi"]}, "sk-glm": {"models": ["glm"]}}


@pytest.fixture(scope="module")
def proxy(provider_server: SimulatedProviders, start_proxy: StartProxy) -> Proxy:
    """Two deployments of one model and one of another, two workers, the default store."""
    entries = [
        deployment(provider_server, "one", info={"provider": "vendor-one", "zdr": True}, **prices(1, 1)),
        deployment(provider_server, "two", info={"provider": "vendor-two"}, **prices(2, 2)),
        deployment(provider_server, "other", "glm"),
    ]
    return start_proxy(config(entries), keys=KEYS, workers=WORKERS)


@pytest.fixture(autouse=True)
def _with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line finds the administrator's key where it looks for it."""
    monkeypatch.setenv("EXACTO_API_KEY", MASTER_KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def override(proxy: Proxy, *arguments: str) -> int:
    """``exacto override``."""
    return main(["override", *arguments, "--url", proxy.base_url])


def served(proxy: Proxy) -> set[tuple[str, str]]:
    """Who answers requests with tools, and in which tier; any worker may be asked."""
    found = set()
    for number in range(REQUESTS):
        body = {"model": "kimi:exacto", "messages": [{"role": "user", "content": f"Hello {number}?"}]}
        headers = post(proxy, "/v1/chat/completions", body).raise_for_status().headers
        found.add((headers["x-exacto-deployment"], headers["x-exacto-tier"]))
    return found


def overrides(proxy: Proxy) -> set[str]:
    """What the workers say is overridden."""
    answers = [one["overrides"] for one in from_every_worker(proxy, "overrides", WORKERS)]
    return {" ".join(f"{one['deployment']}={one['word']}" for one in words) for words in answers}


def test_before_the_first_verdict(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """Every configured deployment is listed, with when it is judged; the doctor finds nothing wrong."""
    assert main(["tiers", "--url", proxy.base_url]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "one vendor-one insufficient data - - - no verdict yet" in told
    assert "The next verdicts are due in" in told
    assert told.count("no verdict yet") == 3
    assert main(["tiers", "--url", proxy.base_url, "--fail-on", "insufficient_data"]) == 1
    capsys.readouterr()
    # A worker finds the store through which it shares with its first step, a moment after it began to serve.
    eventually(
        lambda: [one["sharing"]["exchange"] for one in from_every_worker(proxy, "status", WORKERS)], ["store"] * 2
    )
    assert main(["doctor", "--url", proxy.base_url, "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert {name: one["state"] for name, one in found.items() if one["state"] != "ok"} == {
        "metrics": "note",
        "verdicts": "note",
    }
    assert "through store" in found["sharing"]["text"]


def test_a_word_holds_everywhere(
    proxy: Proxy, providers: SimulatedProviders, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said to one worker, followed by both, seen wherever a tier is, and taken back; nothing was ever judged here."""
    assert override(proxy, "one", "deranked", "--for", "1h", "--reason", "maintenance", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kept"], answer["overrides"][0]["model_group"]) == (True, "kimi")
    assert override(proxy, "two", "good", "--for", "1h", "--reason", "trusted") == 0
    assert "kimi: two is verified good until" in capsys.readouterr().out
    eventually(lambda: overrides(proxy), {"one=deranked two=good"})
    assert served(proxy) == {("two", "verified_good")}
    assert asked(providers, ["one"]) == {"one": 0}
    headers = {"X-Exacto-Metadata": "enabled"}
    body = {"model": "kimi:exacto", "messages": MESSAGES}
    answered = proxy.request("POST", "/v1/chat/completions", json=body, headers=headers)
    told = answered.json()["exacto_metadata"]
    reasons = {one["deployment"]: (one["tier"], one["reasons"][0]["code"]) for one in told["candidates"]}
    assert reasons == {"one": ("deranked", "override"), "two": ("verified_good", "override")}
    shown = {one["deployment"]: one["override"] for one in api(proxy, "models/kimi").json()["deployments"]}
    assert (shown["one"]["reason"], shown["one"]["measured_tier"]) == ("maintenance", "insufficient_data")
    for name in ("one", "two"):
        assert override(proxy, name, "reset") == 0
    eventually(lambda: overrides(proxy), {""})
    assert {tier for _, tier in served(proxy)} == {"insufficient_data"}


def test_a_word_ends_by_itself(proxy: Proxy, providers: SimulatedProviders) -> None:
    """Long before any recompute."""
    assert override(proxy, "one", "deranked", "--for", "2s", "--reason", "for a moment") == 0
    eventually(lambda: overrides(proxy), {""})
    assert {tier for _, tier in served(proxy)} == {"insufficient_data"}


def test_whom_there_is_not(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names those that there are; a key that is no administrator's says nothing."""
    assert override(proxy, "nobody", "good", "--for", "1h", "--reason", "why not") == 2
    assert "there is no deployment 'nobody'; there are one, other, two" in capsys.readouterr().err
    os.environ["EXACTO_API_KEY"] = "sk-kimi"
    assert override(proxy, "one", "good", "--for", "1h", "--reason", "for me") == 2
    assert "an admin key in EXACTO_API_KEY is needed" in capsys.readouterr().err
    assert overrides(proxy) == {""}


def problems(proxy: Proxy, expected: str = "None") -> set[str]:
    """The workers' problems with their newest settings; of those that hold what is expected only that."""
    found = [str(one["settings"]["problem"]) for one in from_every_worker(proxy, "status", WORKERS)]
    return {expected if expected in problem else problem for problem in found}


def settings(proxy: Proxy) -> set[tuple[str, bool]]:
    """The workers' modes, and whether they have a problem with their newest settings."""
    found = from_every_worker(proxy, "status", WORKERS)
    return {(one["mode"], one["settings"]["problem"] is not None) for one in found}


def test_settings_are_taken_up(proxy: Proxy) -> None:
    """An edit of config.yaml reaches both workers; a bad one is told and changes nothing."""
    written = yaml.safe_load(proxy.config_file.read_text())

    def write(**block: Any) -> None:
        proxy.config_file.write_text(yaml.safe_dump({**written, "exacto_settings": block}))

    write(mode="observe")
    eventually(lambda: settings(proxy), {("observe", False)})
    write(mode="better")
    eventually(lambda: settings(proxy), {("observe", True)})
    problem = api(proxy, "status").json()["settings"]["problem"]
    assert "exacto_settings.mode: got 'better', expected one of apply, observe, off" in problem
    eventually(lambda: proxy.log().count("got 'better'"), WORKERS)  # once for each
    write()
    eventually(lambda: settings(proxy), {("apply", False)})


def test_a_file_that_cannot_be_used_is_told_without_its_secrets(proxy: Proxy) -> None:
    """Neither the log nor what an admin viewer may read has a word of it; a new fault takes the place of the last."""
    kept, secret = proxy.config_file.read_text(), "sk-live-canary"
    rest = yaml.safe_dump({name: part for name, part in yaml.safe_load(kept).items() if name != "exacto_settings"})
    line = rest.count("\n") + 1
    for block, told in (
        (f"master_key: {secret}: x", f"not valid YAML: mapping values are not allowed here, line {line}, column 27"),
        (f"exacto_settings: redis://:{secret}@h", "exacto_settings: got a text, expected a mapping"),
        (f"exacto_settings: {{redis: {{url: [{secret}]}}}}", "exacto_settings.redis.url: got a list, expected a text"),
        ("exacto_settings: &all {tiers: *all}", "nested too deeply, or contains itself"),
        (f"exacto_settings: {'[' * 600}{secret}", "not valid YAML: it is nested too deeply"),
    ):
        proxy.config_file.write_text(f"{rest}{block}\n")
        eventually(partial(problems, proxy, told), {told})
        assert secret not in api(proxy, "status").text
    proxy.config_file.write_text(kept)
    eventually(lambda: problems(proxy), {"None"})
    eventually(lambda: proxy.log().count("not valid YAML: mapping values"), WORKERS)  # once for each
    assert secret not in proxy.log()


def look_up(proxy: Proxy, name: str, key: str, root: str = "/v1") -> tuple[int, str | None]:
    """One model of the catalogue."""
    answer = proxy.request("GET", f"{root}/models/{name}", key)
    return answer.status_code, answer.json().get("id")


def test_one_suffixed_model(proxy: Proxy) -> None:
    """It is found under its name by whoever finds the model, and a name that is none is not."""
    for name in ("kimi", "kimi:exacto", "kimi:floor:exacto"):
        assert look_up(proxy, name, MASTER_KEY) == (200, name)
    assert look_up(proxy, "kimi:nitro", MASTER_KEY, "") == (200, "kimi:nitro")
    assert look_up(proxy, "kimi:exacto", "sk-glm") == look_up(proxy, "kimi", "sk-glm") != (200, "kimi")
    for name in ("kimi:free", "nobody:exacto"):
        assert look_up(proxy, name, MASTER_KEY) == look_up(proxy, "nobody", MASTER_KEY) == (404, None)


def test_refusals(proxy: Proxy) -> None:
    """A malformed wish has its headers too, filters are named together, and LiteLLM's log gets lines, no tracebacks."""
    with pytest.raises(openai.BadRequestError) as bad:
        ask(proxy, "kimi:floor", provider={"quantizations": ["bad!"]})
    assert error_of(bad.value)["param"] == "provider.quantizations[0]"
    assert bad.value.response.headers["x-exacto-policy"] == "price"
    assert bad.value.response.headers["x-exacto-decision"]
    with pytest.raises(openai.NotFoundError) as nobody:
        ask(proxy, "kimi", provider={"ignore": ["vendor-one"], "zdr": True})
    told = "is left by ignore = ['vendor-one'] together with zdr = true (of deployments that declare"
    assert told in error_of(nobody.value)["message"]
    eventually(lambda: "exacto refused" in proxy.log(), True)
    assert "ExactoRefusedError" not in proxy.log()


def test_nothing_failed_on_the_way(proxy: Proxy) -> None:
    """After all of the above not one fault of our own was counted. The last test of this module."""
    assert [one["faults"] for one in from_every_worker(proxy, "status", WORKERS)] == [{}] * WORKERS
