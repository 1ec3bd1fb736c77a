"""How many look-ups a request can cause before its key is checked, whatever its body."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.routing.policy import LONGEST_NAME, MOST_SUFFIXES, Resolution, Slug, split_slug
from exacto_plugin.litellm_hooks.deployments.model_names import (
    MOST_PATTERN_LOOKUPS,
    NameResolver,
    leads_to_openrouter,
)
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.proxy import middleware_of
from exacto_plugin.litellm_hooks.request.body import MOST_NAMES
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIXES = ":exacto:floor:nitro:exacto:floor:nitro"


def _entry(name: str, model: str) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, "api_key": "x"}, "model_info": {"id": name}}


def _router() -> Any:
    return litellm.Router(
        model_list=[_entry("kimi", "openai/m"), _entry("w/*", "openai/*"), _entry("openai/*", "openai/*")]
    )


def _count(router: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that the router is asked about: exactly, and of its wildcards."""
    asked: dict[str, list[str]] = {"knows": [], "entries_by_pattern": [], "by_pattern": [], "deployments": []}
    kind = type(router_view(router))
    for method, names in asked.items():
        monkeypatch.setattr(kind, method, _counted(getattr(kind, method), names))
    return asked


def _counted(real: Callable[[Any, str], Any], names: list[str]) -> Callable[[Any, str], Any]:
    def counted(self: Any, name: str) -> Any:
        names.append(name)
        return real(self, name)

    return counted


def _passed_on(router: Any, body: dict[str, Any]) -> Any:
    """What LiteLLM gets of a request whose key nobody has checked yet."""
    found: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope["parsed_body"][1])

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    runtime = Runtime(Settings())
    runtime.routers.set_source(lambda: router)
    asyncio.run(middleware_of(runtime, lambda: router)(inner)(scope, receive, send))
    return found[0]


def _names(kind: str, length: int = 1) -> list[str]:
    return [f"{kind}{'x' * length}{number}{SUFFIXES}" for number in range(MOST_NAMES)]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "a:exacto", "models": _names("m"), "fallbacks": _names("f")},
        {"model": "w/a:exacto", "models": _names("w/m"), "fallbacks": _names("w/f")},
        {"models": _names("w/m"), "fallbacks": [{"model": name} for name in _names("f")]},
        {"model": "a", "fallbacks": [{"g": _names("w/f")}]},
        {"model": ",".join(_names("w/"))},
        {"models": _names("w/m"), "provider": {"sort": {"by": "price", "partition": "none"}}},
        {"models": ["kimi:exacto"] * MOST_NAMES, "provider": {"sort": {"by": "price", "partition": "none"}}},
    ],
    ids=["unknown", "wildcard", "entries", "maps", "batch", "ranked", "ranked-same"],
)
def test_lookups_have_a_budget(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up twice, and few of them in wildcards, which takes 130 times as long."""
    router = _router()
    asked = _count(router, monkeypatch)
    _passed_on(router, body)
    assert len(asked["knows"]) == len(set(asked["knows"])) <= (2 * MOST_NAMES + 1) * (MOST_SUFFIXES + 1)
    assert len(asked["entries_by_pattern"]) <= MOST_PATTERN_LOOKUPS
    assert len(asked["by_pattern"]) <= MOST_PATTERN_LOOKUPS + 8  # and those of the models that are ranked
    assert len(asked["deployments"]) <= 8 + 1


@pytest.mark.parametrize("shape", ["model", "models", "fallbacks", "batch"])
def test_long_names_are_not_looked_up(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of megabytes is passed on as it is."""
    router = _router()
    asked = _count(router, monkeypatch)
    long = f"w/{'x' * LONGEST_NAME}:exacto"
    body: dict[str, Any] = {"model": "a", "provider": {"allow_fallbacks": False}}
    body |= {"model": f"{long},{long}"} if shape == "batch" else {shape: long if shape == "model" else [long]}
    told = _passed_on(router, body)
    assert [name for names in asked.values() for name in names if len(name) > LONGEST_NAME] == []
    assert long in str(told)


def test_a_resolver_remembers() -> None:
    """Exact names, patterns in any form that LiteLLM matches, and names that nothing serves."""
    resolve = NameResolver(_router())
    known = {"kimi": Resolution.EXACT, "w/x": Resolution.PATTERN, "gpt-4o": Resolution.PATTERN, "": Resolution.UNKNOWN}
    assert {name: resolve(name) for name in known} == known
    assert resolve("x") is Resolution.UNKNOWN
    assert split_slug("gpt-4o:exacto", resolve) == Slug("gpt-4o", ("exacto",))
    assert not leads_to_openrouter(_router(), "x" * (LONGEST_NAME + 1))


@pytest.mark.parametrize("name", ["w/x", "w/x:y", "openai/gpt-4o", "v/w/x", "kimi", "w/", "w/x\ny"])
def test_own_match_is_that_of_litellm(name: str) -> None:
    """The entries that match a name as it is written are those that LiteLLM finds, with the model still open."""
    view = router_view(_router())
    ours = [one["model_info"]["id"] for one in view.entries_by_pattern(name)]
    assert ours in ([one["model_info"]["id"] for one in view.by_pattern(name)], [])
    assert bool(ours) == name.startswith(("w/", "openai/"))
