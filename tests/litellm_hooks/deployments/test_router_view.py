"""What is read of a router, the same on every LiteLLM."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from exacto_plugin.litellm_hooks.deployments.router_view import FALLBACK_LISTS, router_view


def _entry(litellm_id: str, name: str, **info: Any) -> dict[str, Any]:
    params = {"model": "openai/m", "api_key": "x", "api_base": "http://127.0.0.1:1/v1"}
    return {"model_name": name, "litellm_params": params, "model_info": {"id": litellm_id, **info}}


def _router(**more: Any) -> Any:
    entries = [
        _entry("one", "a"),
        _entry("two", "a"),
        _entry("two", "b"),
        _entry("wild", "w/*"),
        _entry("own", "model_name_t_1", team_id="t", team_public_model_name="ours"),
    ]
    return litellm.Router(model_list=entries, model_group_alias={"also": "a"}, **more)


def _ids(deployments: Any) -> list[str]:
    return [one["model_info"]["id"] for one in deployments]


def test_names() -> None:
    """Model groups, aliases, ids, teams' names and wildcards."""
    view = router_view(_router())
    assert {"a", "b", "w/*"} <= set(view.model_names)
    assert set(view.team_names) == {"ours"}
    assert {"a", "ours"} <= set(view.names)
    assert [view.knows(name) for name in ("a", "also", "one", "ours", "nothing")] == [True, True, True, True, False]
    assert (view.alias("also"), view.alias("a")) == ("a", None)
    assert (view.has_id("one"), view.has_id("a")) == (True, False)


def test_deployments() -> None:
    """By name, by id, by exactly a name, and all."""
    view = router_view(_router())
    assert _ids(view.deployments("a")) == ["one", "two"]
    assert _ids(view.deployments("w/x")) == ["wild"]
    assert list(view.deployments("nothing")) == []
    assert _ids(view.named("b")) == ["two"]
    assert list(view.named("w/x")) == []
    assert _ids(view.all()) == ["one", "two", "two", "wild", "own"]
    assert _ids(view.by_pattern("w/x")) == ["wild"]
    assert list(view.by_pattern("nothing")) == []
    found = view.deployment("one")
    assert found is not None
    assert found["model_name"] == "a"
    assert view.deployment("nothing") is None
    assert (view.holds("b", "two"), view.holds("b", "one"), view.holds("nothing", "one")) == (True, False, False)


def test_one_id_in_several_groups() -> None:
    """A deployment is seen as its entry in the group that is asked for."""
    view = router_view(_router())
    first = [one for one in view.all() if one["model_info"]["id"] == "two"][:1]
    assert [one["model_name"] for one in first] == ["a"]
    assert [one["model_name"] for one in view.in_group("b", first)] == ["b"]
    assert view.in_group("a", first) is first
    assert view.in_group("nothing", first) is first


def test_settings() -> None:
    """Settings of a router, and fallback lists that are replaced."""
    router = _router(fallbacks=[{"a": ["b"]}], enable_tag_filtering=True, enable_weighted_failover=True)
    view = router_view(router)
    assert view.setting("enable_tag_filtering") is True
    assert view.setting("enable_weighted_failover") is True
    assert not view.setting("default_deployment")
    assert view.setting("nothing") is None
    assert view.setting(FALLBACK_LISTS[0]) == [{"a": ["b"]}]
    view.set_fallbacks(FALLBACK_LISTS[0], [{"a": ["w/x"]}])
    assert router_view(router).setting(FALLBACK_LISTS[0]) == [{"a": ["w/x"]}]
    assert view.redis is None
    assert list(view.cooldowns.get_active_cooldowns(["one"], parent_otel_span=None)) == []
    assert list(view.plugins) == []


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], {"a": "simple-shuffle", "b": "simple-shuffle"}),
        (
            [{"group_name": "g", "models": ["b"], "routing_strategy": "least-busy"}],
            {"a": "simple-shuffle", "b": "least-busy", "g": "least-busy"},
        ),
    ],
)
def test_strategies(groups: list[dict[str, Any]], expected: dict[str, str]) -> None:
    """A routing group's own strategy, else the router's."""
    view = router_view(_router(routing_groups=groups))
    assert {name: view.strategy(name) for name in expected} == expected
    assert view.strategy("also") == expected["a"]
