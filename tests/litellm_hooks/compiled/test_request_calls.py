"""The steps around a request of LiteLLM's compiled router, which need no such router to be tried."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from exacto_plugin.config.settings import load_settings
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.compiled.request_calls import RequestCalls, one_attempt
from exacto_plugin.litellm_hooks.compiled.router_methods import SYNC_FIELDS, named_arguments
from exacto_plugin.litellm_hooks.request.hops import RETRY_POLICY
from exacto_plugin.litellm_hooks.request.state import CURRENT
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

PARAMS = {"model": "openai/m", "api_key": "x", "api_base": "http://127.0.0.1:1/v1"}


@pytest.fixture(autouse=True)
def _no_request() -> Any:
    token = CURRENT.set(None)
    yield
    CURRENT.reset(token)


def _router(**more: Any) -> Any:
    entries = [
        {"model_name": name, "litellm_params": dict(PARAMS), "model_info": {"id": f"id-{name}"}} for name in "ab"
    ]
    return litellm.Router(model_list=entries, model_group_alias={"also": "a"}, **more)


def _sent(router: Any, limit: int | None, *, selects: bool = True, **kwargs: Any) -> tuple[dict[str, Any], Any]:
    """What a synchronous request is made with, and the fields that were kept back."""
    callback = ExactoCallback(Runtime(load_settings(None)))
    calls = RequestCalls(
        callback.rescue,
        callback.scoring.record_error_in_stream,
        lambda: limit,
        lambda: selects,
        lambda _: True,
        callback.faults,
    )
    seen: list[tuple[dict[str, Any], Any]] = []
    calls.call_sync("chat", router, lambda asked: seen.append((asked, SYNC_FIELDS.get())), kwargs)
    assert not callback.faults.counts
    return seen[0]


def test_attempts_are_a_retry_policy_of_the_request() -> None:
    """For the requested group, under its alias too, and the groups it may fall back to; never after a 400."""
    router = _router(fallbacks=[{"a": ["b"]}])
    policies = _sent(router, 3, model="also")[0][RETRY_POLICY]
    assert policies.keys() == {"also", "a", "b"}
    assert {policies["a"]["DefaultRetries"], policies["a"]["NotFoundErrorRetries"]} == {2}
    assert policies["a"]["BadRequestErrorRetries"] == 0
    assert RETRY_POLICY in _sent(router, 3, model="a", fallbacks=["b"])[0]


@pytest.mark.parametrize(
    ("limit", "more"),
    [
        (None, {"model": "a"}),
        (3, {"model": "a", "num_retries": 0}),
        (3, {"model": "id-a"}),
        (3, {}),
    ],
)
def test_who_says_how_often_is_asked(limit: int | None, more: dict[str, Any]) -> None:
    """Without a limit, with the request's own number and for a named deployment the number is LiteLLM's."""
    assert RETRY_POLICY not in _sent(_router(), limit, **more)[0]


def test_the_operators_retry_policy_stands() -> None:
    """A retry policy of the router's is not replaced."""
    assert RETRY_POLICY not in _sent(_router(retry_policy={"TimeoutErrorRetries": 1}), 3, model="a")[0]


def test_fields_for_the_plugin_are_kept_back() -> None:
    """A synchronous request passes them to the selection, and LiteLLM gets none of them."""
    own: dict[str, Any] = {"provider": {"sort": "price"}, "exacto_suffixes": "floor"}
    sent, kept = _sent(_router(), None, model="a", temperature=1, **own)
    assert sent == {"model": "a", "temperature": 1}
    assert kept == own
    assert SYNC_FIELDS.get() is None
    sent, _ = _sent(_router(), None, selects=False, model="a", additional_drop_params=["x"], **own)
    assert set(sent["additional_drop_params"]) == {"x", "provider", "exacto_suffixes", "models"}


def test_one_attempt() -> None:
    """Another deployment is asked once, and no other model group."""
    asked = one_attempt({"model": "a", RETRY_POLICY: {}, "num_retries": 5})
    assert asked == {"model": "a", "num_retries": 0, "disable_fallbacks": True}


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "expected"),
    [
        ("acompletion", ("m", []), {"x": 1}, ((), {"model": "m", "messages": [], "x": 1})),
        ("aresponses", ("hello", "m"), {}, ((), {"input": "hello", "model": "m"})),
        ("acompletion", ("m",), {"model": "n"}, (("m",), {"model": "n"})),
        ("other", ("m",), {}, (("m",), {})),
    ],
)
def test_named_arguments(name: str, args: Any, kwargs: dict[str, Any], expected: Any) -> None:
    """Positional arguments get their names; a call that LiteLLM refuses stays as it is."""
    assert named_arguments(name, args, kwargs) == expected
