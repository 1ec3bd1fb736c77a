"""The sign-in of LiteLLM's UI plugins, with claims as LiteLLM issues them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from litellm.proxy import plugin_routes
from litellm.proxy._types import LitellmUserRoles

from exacto_plugin.errors import StoreError
from exacto_plugin.store.location import location_of_url
from exacto_plugin.web import sign_in
from exacto_plugin.web.api import routers_of
from exacto_plugin.web.page import FRAMED_POLICY, POLICY
from tests.web.test_api import GROUP, measured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

SALT = "a salt of the tests"
ADMIN, VIEWER, USER = (
    LitellmUserRoles.PROXY_ADMIN.value,
    LitellmUserRoles.PROXY_ADMIN_VIEW_ONLY.value,
    LitellmUserRoles.INTERNAL_USER.value,
)
PLUGINS = [{"name": "quality", "url": "https://proxy.example/below/exacto/"}, {"name": "other", "url": "https://x/"}]
OVERRIDE = {"deployment": "a", "word": "deranked", "for_s": 60, "reason": "maintenance", "model_group": GROUP}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page and another service are plugins of LiteLLM's UI."""
    monkeypatch.setenv("LITELLM_SALT_KEY", SALT)
    monkeypatch.setattr(plugin_routes, "_plugin_registry", {})
    plugin_routes.register_plugins_from_config({"plugins": PLUGINS})


def page_of(runtime: Runtime) -> TestClient:
    """The page of a process."""
    app = FastAPI()
    for router in routers_of(runtime):
        app.include_router(router)
    return TestClient(app)


def claim_of(role: str | None = ADMIN, plugin: str = "quality") -> str:
    """What LiteLLM's UI gives to the frame of a plugin."""
    return plugin_routes.issue_plugin_session_claim(plugin, "a user", role)


def exchanged(page: TestClient, claim: str) -> Any:
    """The answer to a claim."""
    return page.post("/exacto/api/plugin-auth", json={"session_claim": claim})


def bearer(page: TestClient, claim: str) -> Mapping[str, str]:
    """The header of a session that was given for a claim."""
    return {"Authorization": f"Bearer {exchanged(page, claim).raise_for_status().json()['session']}"}


def test_administrators_are_signed_in() -> None:
    """They see what a key of theirs shows; an override says under a hash that it is theirs, a viewer sets none."""
    runtime = measured()
    page = page_of(runtime)
    for role, status in ((VIEWER, 403), (ADMIN, 200)):
        header = bearer(page, claim_of(role))
        shown = page.get("/exacto/page/overview", headers=header)
        assert shown.status_code == 200
        assert GROUP in shown.text
        assert page.post("/exacto/page/overrides", json=OVERRIDE, headers=header).status_code == status
    (override,) = runtime.engine.overrides.in_force
    assert override.author == runtime.overrides.author("a user")


@pytest.mark.parametrize("role", [USER, "", None, "made_up"])
def test_other_roles_paste_a_key(role: str | None) -> None:
    """A claim names no models, so it opens nothing for a role that sees what its key may call."""
    refused = exchanged(page_of(measured()), claim_of(role))
    assert refused.status_code == 403
    assert "administrators only" in refused.json()["detail"]


def _aged(seconds: int, expires: int) -> str:
    claim = {"plugin": "quality", "user_id": "u", "user_role": ADMIN, "exp": int(time.time()) + expires}
    cipher = plugin_routes._plugin_fernet("quality")
    return cipher.encrypt_at_time(json.dumps(claim).encode(), int(time.time()) - seconds).decode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: claim_of(plugin="other"),
        lambda: claim_of()[:-8] + "AAAAAAA=",
        lambda: "no claim",
        lambda: _aged(40, 60),
        lambda: _aged(0, -1),
    ],
    ids=["of another plugin", "tampered", "none", "encrypted long ago", "expired"],
)
def test_a_claim_is_checked(make: Any) -> None:
    """Its key, its plugin and both its times."""
    refused = exchanged(page_of(measured()), make())
    assert refused.status_code == 401
    assert "not valid, or is too old" in refused.json()["detail"]


def test_without_a_salt_there_is_no_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody could derive the keys then, as LiteLLM derives them from nothing; sessions end as well."""
    page = page_of(measured())
    header = bearer(page, claim_of())
    for salt in ("", None):
        monkeypatch.setenv("LITELLM_SALT_KEY", "")
        claim = claim_of()
        if salt is None:
            monkeypatch.delenv("LITELLM_SALT_KEY")
        assert exchanged(page, claim).status_code == 503
        assert page.get("/exacto/page/overview", headers=header).status_code == 401


def test_a_page_that_is_no_plugin_takes_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where a plugin of the name is elsewhere, or this LiteLLM has no plugins; and no page may frame it."""
    page = page_of(measured())
    header, claim = bearer(page, claim_of()), claim_of()
    shell = page.get("/exacto/")
    assert shell.headers["content-security-policy"] == FRAMED_POLICY
    assert shell.headers["x-frame-options"] == "SAMEORIGIN"
    assert page.get("/exacto/page/overview", headers=header).headers["content-security-policy"] == POLICY
    plugin_routes.register_plugins_from_config({"plugins": [{"name": "quality", "url": "https://elsewhere/exactor"}]})
    for _ in range(2):
        assert exchanged(page, claim).status_code == 404
        assert page.get("/exacto/page/overview", headers=header).status_code == 401
        shell = page.get("/exacto/")
        assert shell.headers["content-security-policy"] == POLICY
        assert shell.headers["x-frame-options"] == "DENY"
        monkeypatch.setattr(sign_in, "plugin_routes", lambda: None)


@pytest.mark.parametrize("stored", [False, True])
def test_a_claim_is_used_once(stored: bool, tmp_path: Path) -> None:
    """By whichever worker; without a store that workers share, once in each of them."""
    place = location_of_url(f"sqlite:///{tmp_path / 'records.sqlite'}") if stored else None
    runtimes = [measured(place), measured(place)]
    pages = [page_of(one) for one in runtimes]
    claim = claim_of()
    assert exchanged(pages[0], claim).status_code == 200
    again = exchanged(pages[0], claim)
    assert again.status_code == 401
    assert "used before" in again.json()["detail"]
    assert exchanged(pages[1], claim).status_code == (401 if stored else 200)
    assert exchanged(pages[1], claim_of(VIEWER)).status_code == 200
    for one in runtimes:
        one.store.close()


@pytest.mark.parametrize("other", [" {}", "{}\n", "{}é", "!{}"])
def test_a_used_claim_is_known_in_other_texts(other: str) -> None:
    """LiteLLM skips what is no base64."""
    page, claim = page_of(measured()), claim_of()
    assert plugin_routes.verify_plugin_session_claim("quality", other.format(claim))["user_role"] == ADMIN
    assert exchanged(page, claim).status_code == 200
    assert exchanged(page, other.format(claim)).status_code == 401


def test_a_store_that_does_not_answer_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As nothing keeps a claim from being used twice then."""

    async def fails(*_: object) -> None:
        raise StoreError("the disk is full")

    runtime = measured(location_of_url(f"sqlite:///{tmp_path / 'records.sqlite'}"))
    monkeypatch.setattr(runtime.store, "work", fails)
    refused = exchanged(page_of(runtime), claim_of())
    assert refused.status_code == 503
    assert "the disk is full" in refused.json()["detail"]
    runtime.store.close()


def test_a_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a working day, and with the salt; a claim is none."""
    runtime = measured()
    page, now = page_of(runtime), [time.time()]
    monkeypatch.setattr(runtime.context, "clock", lambda: now[0])
    page = page_of(runtime)
    header = bearer(page, claim_of())
    now[0] += sign_in.SESSION_S - 10
    assert page.get("/exacto/page/incidents", headers=header).status_code == 200
    now[0] += 20
    ended = page.get("/exacto/page/incidents", headers=header)
    assert (ended.status_code, ended.json()["detail"]) == (401, sign_in.ENDED)
    now[0] -= 20
    forged = {"Authorization": f"Bearer exacto-page.{claim_of()}"}
    assert page.get("/exacto/page/incidents", headers=forged).status_code == 401
    monkeypatch.setenv("LITELLM_SALT_KEY", "another")
    assert page.get("/exacto/page/incidents", headers=header).status_code == 401


def test_the_manifest_and_a_page_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views by name, nothing of the fleet; neither is there without the page."""
    runtime = measured()
    page = page_of(runtime)
    told = page.get("/exacto/api/plugin-manifest")
    assert {one["path"] for one in told.json()["nav_items"]} == {"/#overview", "/#incidents"}
    assert GROUP not in told.text
    settings = runtime.context.settings
    off = settings.model_copy(update={"web": settings.web.model_copy(update={"enabled": False})})
    monkeypatch.setattr(runtime.context, "settings", off)
    assert page.get("/exacto/api/plugin-manifest").status_code == 404
    assert exchanged(page, claim_of()).status_code == 404
