"""The page without a browser: the visitors that it answers, and the words that each may read."""

from __future__ import annotations

import asyncio
import html
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

from exacto_plugin.audit.formatting import minute
from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.routing.overrides import Override, OverrideAction
from exacto_plugin.errors import StoreError
from exacto_plugin.records import DeploymentRecord, HourRecord
from exacto_plugin.store.database import connect
from exacto_plugin.store.location import location_of_url
from exacto_plugin.store.rows import insert_all
from exacto_plugin.web import access
from exacto_plugin.web.api import routers_of
from exacto_plugin.web.charts import change_words
from exacto_plugin.web.rendering import Renderer
from exacto_plugin.web.views import why_now_of
from tests.bench.test_standings import run
from tests.test_telemetry import NOW
from tests.web.test_api import GROUP, measured

if TYPE_CHECKING:
    from pathlib import Path

    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
    from exacto_plugin.store.location import StoreLocation

ADMIN, USER = LitellmUserRoles.PROXY_ADMIN, LitellmUserRoles.INTERNAL_USER
WORDS = "they broke our agent"


@pytest.fixture
def place(tmp_path: Path) -> StoreLocation:
    """A store in a file."""
    return location_of_url(f"sqlite:///{tmp_path}/exacto.db")


@pytest.fixture
def runtime() -> Runtime:
    """A runtime with verdicts, and one that an operator has overridden with a reason."""
    runtime = measured()
    override = Override(GROUP, DeploymentKey("a"), OverrideAction.DERANKED, WORDS, "5a17", NOW, NOW + 60.0)
    runtime.engine.overrides.merge([override], NOW)
    asyncio.run(runtime.recomputer.recompute())
    return runtime


def page_of(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, role: LitellmUserRoles, **web: Any) -> TestClient:
    """The page for a key of a role that may call the model group; LiteLLM's check of the key is left out."""

    async def authenticated(*_: object) -> UserAPIKeyAuth:
        return UserAPIKeyAuth(api_key="sk-of-the-visitor", user_role=role)

    async def models_of(_: object) -> frozenset[str]:
        return frozenset({GROUP})

    monkeypatch.setattr(access, "_authenticated", authenticated)
    monkeypatch.setattr(access, "_models_of", models_of)
    settings = runtime.context.settings
    changed = {name: getattr(settings, name).model_copy(update=values) for name, values in web.items()}
    monkeypatch.setattr(runtime.context, "settings", settings.model_copy(update=changed))
    app = FastAPI()
    for router in routers_of(runtime):
        app.include_router(router)
    return TestClient(app)


VIEWS = ("overview", f"group?name={GROUP}", f"deployment?group={GROUP}&name=a", f"why?group={GROUP}&name=a&at={NOW}")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("role", [ADMIN, USER])
def test_the_reason_of_an_override_is_for_administrators(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, view: str, role: LitellmUserRoles
) -> None:
    """Others read that there is one, and nothing of its reason; a deployment's own view tells it to administrators."""
    client = page_of(runtime, monkeypatch, role, web={"access": "keys"})
    answer = client.get(f"/exacto/page/{view}")
    assert answer.status_code == 200
    assert (WORDS in answer.text) == (role is ADMIN and view.startswith(("group", "deployment")))
    if view.startswith("deployment"):
        assert "because of an operator" in answer.text


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({}, 403),
        ({"web": {"access": "keys"}}, 200),
        ({"web": {"access": "keys"}, "expose": {"providers": False}}, 403),
    ],
)
def test_other_keys_are_let_in_by_settings_only(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], status: int
) -> None:
    """Not by default, and not where the names of deployments are confidential; administrators always."""
    assert page_of(runtime, monkeypatch, USER, **settings).get("/exacto/page/overview").status_code == status
    assert page_of(runtime, monkeypatch, ADMIN, **settings).get("/exacto/page/overview").status_code == 200


@pytest.mark.parametrize("view", [*VIEWS[:3], "incidents"])
def test_a_store_that_cannot_be_read_is_told(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, view: str) -> None:
    """The verdicts in force are shown, and the fault in words."""

    async def fails(*_: object) -> None:
        raise StoreError("the disk is full")

    client = page_of(runtime, monkeypatch, ADMIN)
    monkeypatch.setattr(runtime.store, "read", fails)
    answer = client.get(f"/exacto/page/{view}")
    assert answer.status_code == 200
    assert "What is on record cannot be shown: the disk is full." in answer.text


def test_a_page_that_is_off(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the page nor its views and files; the API stays."""
    client = page_of(runtime, monkeypatch, ADMIN, web={"enabled": False})
    for path in ("/exacto", "/exacto/", "/exacto/static/page.js", "/exacto/page/overview"):
        assert client.get(path).status_code == 404


def test_a_group_that_is_looked_at_gets_percentiles(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are computed for groups that are asked for only; the overview asks for none."""
    client = page_of(runtime, monkeypatch, ADMIN)
    client.get("/exacto/page/overview")
    assert runtime.engine.watched(NOW) == ()
    client.get("/exacto/page/group?name=nothing")
    assert runtime.engine.watched(NOW) == ()
    client.get(f"/exacto/page/group?name={GROUP}")
    assert runtime.engine.watched(NOW) == (GROUP,)


def test_benchmarks_with_their_reference_and_verdict(monkeypatch: pytest.MonkeyPatch, place: StoreLocation) -> None:
    """The deployment's view, and ``why`` in words; a run that does not count is told with its reason."""
    runs = [
        run(name, rate, at=NOW - 60.0, number=number, model_group=GROUP)
        for name, rate in (("a", 0.5), ("b", 0.9), ("c", 0.9))
        for number in range(4)
    ]
    refused = run("c", 0.0, at=NOW - 30.0, number=9, model_group=GROUP, refused="48 answers ended in an error")
    with connect(place, writing=True) as connection, connection.begin():
        insert_all(connection, [*runs, refused])
    runtime = measured(place)
    client = page_of(runtime, monkeypatch, ADMIN, benchmarks={"reference": {GROUP: "b"}})
    shown = client.get(f"/exacto/page/deployment?group={GROUP}&name=a").text
    assert "of b</td><td>significantly below the reference</td>" in shown
    assert "<code>a3</code>" in shown
    (answer,) = asyncio.run(why_now_of(runtime).answers("a", GROUP))
    (score,) = answer["benchmarks"]["scores"]
    assert (score["standing"], score["against"], score["runs"], score["run"]) == ("significantly_below", "b", 4, "a3")
    told = why_sentence(answer)
    assert "In the benchmark tau2_airline it scored" in told
    assert "of b: significantly below the reference (50 tasks, 4 runs, the latest a3)." in told
    shown = client.get(f"/exacto/page/deployment?group={GROUP}&name=c").text
    assert "does not count: 48 answers ended in an error." in shown
    assert "indistinguishable from the reference" in shown
    assert "the reference</td>" in client.get(f"/exacto/page/deployment?group={GROUP}&name=b").text


def recorded(at: float, name: str = "a", *reasons: dict[str, Any]) -> DeploymentRecord:
    """A record of a deployment."""
    signals = {"tool_call_success": (0.99, 100)}
    return DeploymentRecord("s", at, GROUP, name, "p", "verified_good", at, reasons, signals, "checkpoint")


@pytest.mark.parametrize(
    ("hours", "range_"), [(0.3, "1 hour"), (5.0, "6 hours"), (7.0, "24 hours"), (400.0, "24 hours")]
)
def test_the_usual_range_is_that_of_what_is_on_record(
    place: StoreLocation, monkeypatch: pytest.MonkeyPatch, hours: float, range_: str
) -> None:
    """At most a day; a range that was chosen stays, also in the links."""
    with connect(place, writing=True) as connection, connection.begin():
        insert_all(connection, [recorded(NOW - 3600.0 * hours), recorded(NOW - 60.0)])
    client = page_of(measured(place), monkeypatch, ADMIN)
    link = f'href="#deployment?group={quote(GROUP)}&amp;name=a'
    for view in (f"group?name={GROUP}", f"deployment?group={GROUP}&name=a"):
        shown = client.get(f"/exacto/page/{view}").text
        assert f'aria-current="true">{range_}</a>' in shown
        chosen = client.get(f"/exacto/page/{view}&range=7d").text
        assert 'aria-current="true">7 days</a>' in chosen
    shown, chosen = (client.get(f"/exacto/page/group?name={GROUP}{more}").text for more in ("", "&range=7d"))
    assert f'{link}">' in shown
    assert f'{link}&amp;range=7d">' in chosen


def test_common_causes_are_in_the_table_of_incidents(place: StoreLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those on record, the ended ones too, of the groups that the visitor sees; and in the charts of the group."""
    cause = {"code": "common_cause", "signal": None, "begin": NOW - 7200.0, "value": 0.15, "peers": 4}
    rows = [
        recorded(NOW - 6000.0, "a", {**cause, "end": None}),
        recorded(NOW - 4000.0, "a", {**cause, "end": NOW - 5000.0}),
        recorded(NOW - 5900.0, "b", {**cause, "end": None}),
        replace(recorded(NOW - 4000.0, "c", {**cause, "end": None}), model_group="secret"),
    ]
    with connect(place, writing=True) as connection, connection.begin():
        insert_all(connection, rows)
    runtime = measured(place)
    shown = page_of(runtime, monkeypatch, ADMIN).get("/exacto/page/incidents").text
    assert shown.count('<td data-label="Kind">common cause</td>') == 2
    assert f'<td data-label="Until">{minute(NOW - 5000.0)}</td>' in shown
    assert "was about 15 points higher from" in shown
    client = page_of(runtime, monkeypatch, USER, web={"access": "keys"})
    assert client.get("/exacto/page/incidents").text.count("common cause</td>") == 1
    shown = client.get(f"/exacto/page/group?name={GROUP}").text
    assert f'"causes":[[{NOW - 7200.0},{NOW - 5000.0}]]' in html.unescape(shown)
    assert "about 15 points at 4 deployments" in shown


def test_numbers_name_their_chart(place: StoreLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a list of them tells them apart."""
    with connect(place, writing=True) as connection, connection.begin():
        insert_all(
            connection, [recorded(NOW - 60.0), HourRecord(NOW // 3600 * 3600, GROUP, "a", "w", {"answers": 3.0})]
        )
    shown = page_of(measured(place), monkeypatch, ADMIN).get(f"/exacto/page/group?name={GROUP}").text
    assert re.findall("<summary>(.*?)</summary>", shown) == ["Numbers: bad tool calls", "Numbers: share of traffic"]
    # Too few answers for a line; the table has them.
    assert "<td>3 of 3</td>" in shown


def test_a_deployment_without_benchmarks(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """No table, and no sentence."""
    client = page_of(runtime, monkeypatch, ADMIN)
    assert "Benchmarks</h2>" not in client.get(f"/exacto/page/deployment?group={GROUP}&name=a").text


def test_a_key_that_a_proxy_without_a_database_does_not_know(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused as unknown, with the key that is needed; LiteLLM's other answers stay as they are."""

    async def refuses(**_: object) -> None:
        raise ProxyException("No connected db.", kind, "", code)

    monkeypatch.setattr(access, "user_api_key_auth", refuses)
    app = FastAPI()
    for router in routers_of(runtime):
        app.include_router(router)
    client = TestClient(app)
    kind, code = "no_db_connection", 400
    answer = client.get("/exacto/page/overview", headers={"authorization": "Bearer sk-wrong"})
    assert answer.status_code == 401
    assert "not known to this proxy" in answer.json()["detail"]
    assert "master key" in answer.json()["detail"]
    kind, code = "auth_error", 401
    with pytest.raises(ProxyException):
        client.get("/exacto/page/overview", headers={"authorization": "Bearer sk-wrong"})


def test_a_reset_has_no_end_and_no_reason() -> None:
    """In histories it is told with its author; other overrides with their end and reason."""
    templates = Renderer()._templates
    told = templates.from_string(
        "{% import 'macros.html' as m with context %}{{ m.override_details(change, visitor) }}"
    )
    reset = {"kind": "override", "deployment": "a", "word": "reset", "expires": NOW, "reason": "", "author": "5a17"}
    admin = access.Visitor(None)
    assert told.render(change=reset, visitor=admin) == " by 5a17"
    assert change_words(reset) == "a: override reset"
    held = {**reset, "word": "good", "reason": "vendor fixed it"}
    assert told.render(change=held, visitor=admin).endswith("UTC by 5a17 (“vendor fixed it”)")
    assert told.render(change=held, visitor=access.Visitor(frozenset())) == ""
