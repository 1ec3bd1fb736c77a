"""The pool in the public filter hook: within what LiteLLM's later constraints leave, and so never empty."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

from exacto_plugin.litellm_hooks.deployments.candidates import litellm_id
from exacto_plugin.litellm_hooks.faults import FaultReporter
from exacto_plugin.litellm_hooks.routing.dry_run import may_lose, passed_in_dry_run, survivors
from exacto_plugin.litellm_hooks.routing.early_pool import EarlyPool

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = [{"role": "user", "content": "hello"}]


class _Hook(CustomLogger):
    """The plugin's part of a dry run."""

    async def async_filter_deployments(self, model: str, healthy_deployments: list[Any], *_a: Any, **_k: Any) -> Any:
        passed = passed_in_dry_run(healthy_deployments)
        return healthy_deployments if passed is None else passed


@pytest.fixture
def hook() -> Iterator[_Hook]:
    """The hook among LiteLLM's callbacks."""
    one = _Hook()
    litellm.callbacks.append(one)
    yield one
    litellm.callbacks.remove(one)


def _entry(own_id: str, *, order: int | None = None, tags: list[str] | None = None, **info: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"model": "openai/m", "api_key": "x", "api_base": "http://127.0.0.1:1/v1"}
    params |= {} if order is None else {"order": order}
    params |= {} if tags is None else {"tags": tags}
    return {"model_name": "g", "litellm_params": params, "model_info": {"id": own_id, **info}}


def _left(router: Any, kwargs: dict[str, Any], messages: Any = MESSAGES) -> list[str]:
    return [litellm_id(one) for one in asyncio.run(survivors(router, "g", router.registry().all(), kwargs, messages))]


@pytest.mark.dry_run
def test_tags_and_levels(hook: _Hook) -> None:
    """The request's tags decide, on all ``order`` levels; its metadata stay as they are."""
    tagged = {"a": "default", "b": "paid", "c": "paid"}
    entries = [_entry(name, order=level, tags=[tag]) for level, (name, tag) in enumerate(tagged.items(), 1)]
    router = litellm.Router(model_list=entries, enable_tag_filtering=True)
    kwargs = {"metadata": {"tags": ["paid"]}}
    assert _left(router, kwargs) == ["b", "c"]
    assert kwargs == {"metadata": {"tags": ["paid"]}}
    assert _left(router, {**kwargs, "litellm_logging_obj": None}) == ["b", "c"]
    assert _left(router, {"metadata": {}}) == ["a"]
    assert _left(router, {**kwargs, "_target_order": 3}) == ["c"]
    assert _left(router, {"metadata": {"tags": ["nobody's"]}}) in ([], ["a"])


@pytest.mark.dry_run
def test_pre_call_checks(hook: _Hook) -> None:
    """A deployment without room for the prompt is left out."""
    entries = [_entry("small", max_input_tokens=5), _entry("large", max_input_tokens=100_000)]
    router = litellm.Router(model_list=entries, enable_pre_call_checks=True)
    assert _left(router, {}, [{"role": "user", "content": "word " * 400}]) == ["large"]
    assert _left(router, {}) in (["small", "large"], ["large"])


@pytest.mark.parametrize(
    ("router", "kwargs", "expected"),
    [
        ({}, {}, False),
        ({"enable_pre_call_checks": True}, {}, True),
        ({"enable_tag_filtering": True}, {}, True),
        ({}, {"enable_tag_filtering": True}, True),
        ({}, {"tools": [{"type": "function"}]}, False),
        ({}, {"tools": [{"type": "web_search_preview"}]}, True),
        ({}, {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, False),
        ({}, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, True),
        ({}, {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, True),
    ],
)
def test_when_a_constraint_may_follow(router: dict[str, Any], kwargs: dict[str, Any], expected: bool) -> None:
    """The dry run is made only where something may be removed."""
    made = litellm.Router(model_list=[_entry("a")], **router)
    assert may_lose(made, [_entry("a")], kwargs, None, None) is expected


def test_other_callbacks_and_declared_endpoints_may_remove() -> None:
    """Another callback's filter, and a deployment's own flag, are constraints."""
    made = litellm.Router(model_list=[_entry("a")])
    hook = _Hook()
    litellm.callbacks.append(hook)
    try:
        assert may_lose(made, [], {}, None, None)
        assert not may_lose(made, [], {}, None, hook)
    finally:
        litellm.callbacks.remove(hook)
    assert may_lose(made, [_entry("a", enforce_supported_endpoints=True)], {}, None, None)


@pytest.mark.parametrize(("behind", "expected"), [(False, False), (True, True)], ids=["ahead", "behind"])
def test_only_filters_behind_the_plugin_may_remove(hook: _Hook, behind: bool, expected: bool) -> None:
    """A callback ahead of the plugin's has removed what it removes."""
    made, other = litellm.Router(model_list=[_entry("a")]), _Hook()
    litellm.callbacks.insert(len(litellm.callbacks) if behind else 0, other)
    try:
        assert may_lose(made, [], {}, None, hook) is expected
    finally:
        litellm.callbacks.remove(other)


def _pool(router: Any, kept: list[Any], faults: FaultReporter, skipped: list[bool], **kwargs: Any) -> list[str]:
    early = EarlyPool(lambda: router, lambda _r, left, _k: left[:1], lambda: skipped.append(True), None, faults)
    return [litellm_id(one) for one in asyncio.run(early.choose("g", kept, kwargs, MESSAGES))]


def test_without_a_router_nothing_is_chosen() -> None:
    """A request of an unknown router has LiteLLM's own choice."""
    entries = [_entry("a"), _entry("b")]
    skipped: list[bool] = []
    assert _pool(None, entries, FaultReporter(), skipped) == ["a", "b"]
    assert _pool(litellm.Router(model_list=entries), entries, FaultReporter(), skipped) == ["a"]
    assert skipped == []


@pytest.mark.dry_run
def test_a_refused_dry_run_leaves_all(hook: _Hook) -> None:
    """Where LiteLLM will refuse the request it does so by itself, and nothing is counted as sorted."""
    entries = [_entry("a", max_input_tokens=5), _entry("b", max_input_tokens=5)]
    router = litellm.Router(model_list=entries, enable_pre_call_checks=True)
    early: list[bool] = []
    pool = EarlyPool(lambda: router, lambda _r, left, _k: left[:1], lambda: early.append(True), None, FaultReporter())
    long = [{"role": "user", "content": "word " * 400}]
    assert [litellm_id(one) for one in asyncio.run(pool.choose("g", entries, {}, long))] == ["a", "b"]
    assert early == [True]


def test_a_fault_leaves_all() -> None:
    """A router that cannot be read costs no request."""

    class _Unreadable:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    faults, skipped = FaultReporter(), list[bool]()
    assert _pool(_Unreadable(), [_entry("a"), _entry("b")], faults, skipped) == ["a", "b"]
    assert (faults.counts["order"], skipped) == (1, [True])
