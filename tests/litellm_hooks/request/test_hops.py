"""Where an attempt stands inside its request, also where LiteLLM does not tell the filter hook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.refusal import no_endpoints
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.hops import AttemptPosition, PositionReader
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST, RETRY, ELSEWHERE = AttemptPosition(True, True), AttemptPosition(False, True), AttemptPosition(False, False)


@pytest.fixture
def state() -> Iterator[RequestState]:
    """The state of a request that asked ``a`` once."""
    one = RequestState(http=True, model_group="a")
    one.attempts.append(Attempt(Candidate(LiteLLMId("id"), DeploymentKey("key"), "provider"), "a"))
    CURRENT.set(one)
    yield one
    CURRENT.set(None)


def _read(
    group: str, kwargs: dict[str, Any], configured: tuple[Any, ...] = ()
) -> tuple[AttemptPosition, dict[str, Any]]:
    hop, read = PositionReader(lambda: configured, told=False).read(group, kwargs)
    return hop, {name: value for name, value in read.items() if name not in kwargs}


def test_litellm_tells(state: RequestState) -> None:
    """Where the hook has the hop's own fields they count, whatever came before."""
    state.attempts[0].ended = True
    metadata = {"model_group": "b", "original_model_group": "a"}
    told = {
        "fallback_depth": 1,
        SUFFIXES_KEY: "floor",
        "metadata": metadata,
        "fallbacks": [{"model": "b", SUFFIXES_KEY: "x"}],
    }
    assert _read("b", told) == (ELSEWHERE, {})


def test_nothing_is_inferred_where_litellm_tells(state: RequestState) -> None:
    """A call without the fields of a hop is a new request there, whatever the one before it came to."""
    state.attempts[0].ended = True
    assert PositionReader(tuple, told=True).read("a", {}) == (FIRST, {})


def test_a_failed_attempt_is_followed_by_a_retry(state: RequestState) -> None:
    """The same group again after a failure is no new request."""
    assert _read("a", {}) == (FIRST, {})
    state.attempts[0].ended = True
    assert _read("a", {}) == (RETRY, {})


def test_entries_are_followed_in_order(state: RequestState) -> None:
    """A hop has the suffixes and the preferences of its own entry, and its retries have them too."""
    entries = [
        {"model": "b", SUFFIXES_KEY: "floor"},
        "c",
        {"model": "b", SUFFIXES_KEY: "exacto", "provider": {"only": ["x"]}},
    ]
    asked = {"fallbacks": entries, "provider": None}
    state.attempts[0].ended = True
    assert _read("b", asked) == (ELSEWHERE, {SUFFIXES_KEY: "floor"})
    state.model_group = "b"
    assert _read("b", asked) == (ELSEWHERE, {SUFFIXES_KEY: "floor"})
    assert _read("c", asked) == (ELSEWHERE, {})
    state.model_group = "c"
    hop, kwargs = PositionReader(tuple, told=False).read("b", asked)
    assert (hop, kwargs[SUFFIXES_KEY], kwargs["provider"]) == (ELSEWHERE, "exacto", {"only": ["x"]})


@pytest.mark.parametrize(
    ("made", "more", "follows"),
    [
        (1, {"metadata": {"max_retries": 0}}, True),
        (1, {"metadata": {"max_retries": 1}}, False),
        (2, {"metadata": {"max_retries": 1}}, True),
        (2, {"metadata": {"max_retries": 0}, "model_group_retry_policy": {"a": {"DefaultRetries": 2}}}, False),
        (1, {"metadata": {"max_retries": 0}, "_target_order": 2}, False),
    ],
)
def test_the_same_group_under_another_suffix(
    state: RequestState, made: int, more: dict[str, Any], follows: bool
) -> None:
    """Once LiteLLM has no retry left, the same group is its next entry; an ``order`` level is none."""
    state.attempts *= made
    state.attempts[0].ended = True
    asked = {"fallbacks": [{"model": "a", SUFFIXES_KEY: "exacto"}], **more}
    hop, read = _read("a", asked)
    assert hop.is_first is False
    assert read == ({SUFFIXES_KEY: "exacto"} if follows else {})


def test_a_refusal_is_followed_by_the_next_entry(state: RequestState) -> None:
    """No deployment was called, so no attempt tells of it; the same group without its list is an entry of its own."""
    state.attempts.clear()
    entries = [{"model": "a", SUFFIXES_KEY: ""}, {"model": "b", SUFFIXES_KEY: "floor"}]
    assert _read("a", {"fallbacks": entries}) == (FIRST, {})
    state.routing.refusals.append(no_endpoints("a", "curated", "", ()))
    assert _read("a", {"fallbacks": entries, "_target_order": 2}) == (RETRY, {})
    state.routing.refusals.append(no_endpoints("a", "curated", "", ()))
    assert _read("a", {"fallbacks": entries}) == (RETRY, {SUFFIXES_KEY: ""})
    state.routing.refusals.append(no_endpoints("a", "zdr", "", ()))
    assert _read("b", {"fallbacks": entries}) == (ELSEWHERE, {SUFFIXES_KEY: "floor"})


def test_a_list_of_another_group_is_not_followed(state: RequestState) -> None:
    """Two groups may fall back to one model under different suffixes."""
    configured = ({"x": [{"model": "b", SUFFIXES_KEY: "floor"}]}, {"a": [{"model": "b", SUFFIXES_KEY: "exacto"}]})
    state.attempts[0].ended = True
    assert _read("b", {"model": "a"}, configured) == (ELSEWHERE, {SUFFIXES_KEY: "exacto"})


def test_configured_entries(state: RequestState) -> None:
    """An operator's fallback, also after a stream that broke without a word."""
    configured = ({"a": [{"model": "b", SUFFIXES_KEY: "exacto"}]},)
    assert _read("b", {}, configured) == (ELSEWHERE, {SUFFIXES_KEY: "exacto"})
    assert _read("d", {}, configured) == (FIRST, {})


def test_another_call_of_the_same_request(state: RequestState) -> None:
    """A call after an answer is a new one, and a rescue is told by its own mark."""
    assert _read("b", {"fallbacks": [{"model": "c"}]}) == (FIRST, {})
    CURRENT.set(None)
    assert _read("a", {}) == (FIRST, {})
