"""Policies that are kept: equal to those made anew, whatever was asked before."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.routing.policy import Filter, Slug
from exacto_plugin.litellm_hooks.request.key_defaults import NO_DEFAULTS, Defaults
from exacto_plugin.litellm_hooks.request.policy import PolicyCache, policy_of
from exacto_plugin.litellm_hooks.request.provider_object import NO_PREFERENCES, ProviderObject, read_provider

SETTINGS = (
    Settings(),
    Settings.model_validate({"client_preferences": "deny", "default_sort": "price", "zdr": True}),
    Settings.model_validate(
        {"curated": {"g": ["p1"]}, "model_groups": {"h": {"ignore": ["p2"], "default_sort": "none"}}}
    ),
)
provider_objects: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.sampled_from(
    [{"only": ["p1"]}, {"max_price": {"prompt": 1}}, {"sort": "price"}, {"require_parameters": True}]
)
callers = st.sampled_from(
    [NO_DEFAULTS, NO_DEFAULTS, Defaults(filters=(Filter("only", ("p3",), "set for this key"),)), Defaults()]
)
slugs = st.builds(
    Slug, st.sampled_from("gh"), st.lists(st.sampled_from(["exacto", "floor", "nitro"]), max_size=2).map(tuple)
)
questions = st.tuples(st.sampled_from(SETTINGS), st.sampled_from("gh"), slugs, provider_objects, callers)


@given(st.lists(questions, max_size=20), st.sampled_from([1, 4096]))
def test_a_kept_policy_is_the_one_of_its_own_request(
    asked: list[tuple[Settings, str, Slug, dict[str, Any] | None, Defaults]], limit: int
) -> None:
    """Settings that change and come back, limits of keys and of requests between requests without any."""
    cache = PolicyCache(limit)
    for settings, group, slug, written, caller in asked:
        provider = read_provider(written, group)
        expected = policy_of(settings, group, slug, provider, caller, lambda: ("tools",))
        assert cache.of(settings, group, slug, provider, caller, lambda: ("tools",)) == expected


def test_limits_of_one_request_are_never_kept() -> None:
    """Only a policy of the settings alone is the same object again."""
    cache, settings, slug = PolicyCache(), Settings(), Slug("g")

    def ask(provider: ProviderObject, caller: Defaults) -> object:
        return cache.of(settings, "g", slug, provider, caller, tuple)

    plain = ask(NO_PREFERENCES, NO_DEFAULTS)
    assert ask(NO_PREFERENCES, NO_DEFAULTS) is plain
    limited = Defaults(filters=(Filter("only", ("p3",), "set for this key"),))
    assert ask(NO_PREFERENCES, limited) != plain
    assert ask(read_provider({"only": ["p1"]}, "g"), NO_DEFAULTS) != plain
    assert ask(NO_PREFERENCES, NO_DEFAULTS) is plain
