"""A curated list holds also where LiteLLM does not ask, and a refusal is told only where it is the error."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from litellm.litellm_core_utils.secret_redaction import redact_internal_details

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId
from exacto_plugin.core.routing.policy import Filter, Slug
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.refusal import (
    ExactoRefusedError,
    invalid_preference,
    match_refusal,
    no_endpoints,
    refused_by,
)
from exacto_plugin.litellm_hooks.request.slugs import Slugs
from exacto_plugin.litellm_hooks.request.state import CURRENT, RequestState
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def state() -> Iterator[RequestState]:
    """A request for ``g:exacto`` that no routing hook has seen, as under LiteLLM's older routing strategies."""
    state = RequestState(http=True, slugs=Slugs(Slug("g", ("exacto",))))
    token = CURRENT.set(state)
    yield state
    CURRENT.reset(token)


def _picked(litellm_id: str, asked_for: str = "g") -> RequestState:
    metadata = {"model_group": asked_for, "deployment_model_name": "g"}
    kwargs: dict[str, Any] = {"model": "openai/m", "model_info": {"id": litellm_id}, "metadata": metadata}
    return ExactoCallback(Runtime(Settings.model_validate({"curated": {"g": ["vetted"]}}))).routing.record_attempt(
        kwargs
    )


def test_a_pick_off_the_list_is_refused(state: RequestState) -> None:
    """The last moment before the call is soon enough to keep the promise."""
    with pytest.raises(ExactoRefusedError, match="curated"):
        _picked("other")
    assert [refusal.status for refusal in state.routing.refusals] == [404]
    assert not state.attempts


@pytest.mark.parametrize(("litellm_id", "asked_for"), [("vetted", "g"), ("other", "other")])
def test_other_picks_pass(state: RequestState, litellm_id: str, asked_for: str) -> None:
    """One on the list passes, and so does one that the caller named by its id."""
    assert _picked(litellm_id, asked_for).tried == {litellm_id}
    assert [attempt.model_group for attempt in state.attempts] == ["g"]


@pytest.mark.parametrize(
    ("provider", "refused"),
    [
        ({"only": ["somebody"]}, "only"),
        ({"max_price": {"prompt": 1}}, "max_price"),
        ({"require_parameters": True}, None),
        ({"ignore": ["somebody"]}, None),
        ({"ordr": ["somebody"]}, "provider.ordr"),
        (None, None),
    ],
    ids=str,
)
def test_filters_hold_where_litellm_does_not_ask(provider: object, refused: str | None) -> None:
    """Under LiteLLM's older strategies a pick that a filter rules out is refused at the last moment."""
    token = CURRENT.set(RequestState(http=True))
    metadata = {"model_group": "g", "deployment_model_name": "g"}
    kwargs: dict[str, Any] = {"model": "openai/m", "model_info": {"id": "x"}, "metadata": metadata, "seed": 1}
    routing = ExactoCallback(Runtime(Settings())).routing
    try:
        if refused is None:
            assert routing.record_attempt({**kwargs, "provider": provider}).tried == {"x"}
        else:
            with pytest.raises(ExactoRefusedError, match=refused):
                routing.record_attempt({**kwargs, "provider": provider})
    finally:
        CURRENT.reset(token)


@pytest.mark.parametrize(
    ("kwargs", "promise"),
    [
        ({"provider": {"zdr": True}}, "zdr"),
        ({"extra_body": {"provider": {"only": ["a"]}}}, "only"),
        ({"provider": {"allow_fallbacks": False}}, "allow_fallbacks"),
        ({"metadata": {"user_api_key_metadata": {"exacto": {"ignore": ["a"]}}}}, "ignore"),
        ({"provider": {"sort": "price", "order": ["a"]}}, None),
        ({}, None),
    ],
    ids=str,
)
async def test_filters_fail_closed(
    kwargs: dict[str, Any], promise: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that cannot be evaluated refuses; anything else lets LiteLLM choose."""
    callback = ExactoCallback(Runtime(Settings()))

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(callback.routing, "state_for", broken)
    everybody: list[Any] = [{"model_info": {"id": "x"}, "litellm_params": {"model": "openai/m"}}]
    if promise is None:
        assert await callback.async_filter_deployments("g", everybody, None, kwargs) == everybody
    else:
        with pytest.raises(ExactoRefusedError, match=promise):
            await callback.async_filter_deployments("g", everybody, None, kwargs)
    assert callback.faults.counts == {"filter": 1}
    imposing = ExactoCallback(Runtime(Settings.model_validate({"model_groups": {"g": {"zdr": True}}})))
    assert imposing.hard_filter_of("g", {}) == "zdr"


CAPS = Filter("max_price", (("prompt", 2.0),))
NAMELESS = Candidate(LiteLLMId("3"), DeploymentKey("3"), "dark")


@pytest.mark.parametrize(
    ("source", "expose", "picked", "told"),
    [
        (
            "",
            True,
            None,
            "max_price = {'prompt': 2.0}; the price of dark is not known. Providers of this model: dark, dear.",
        ),
        ("", False, None, "max_price = {'prompt': 2.0}; not every price is known."),
        ("set for this proxy", False, None, "max_price (set for this proxy); not every price is known."),
        ("", True, NAMELESS, "max_price = {'prompt': 2.0}; the price of dark is not known."),
    ],
)
def test_a_refusal_says_whose_price_is_not_known(
    source: str, expose: bool, picked: Candidate | None, told: str
) -> None:
    """A provider's name where clients may see them; of a price that is known and too high, nothing."""
    everybody = [] if picked else [NAMELESS, Candidate(LiteLLMId("4"), DeploymentKey("4"), "dear", prompt_price=9e-6)]
    error = refused_by([replace(CAPS, source=source)], "g", everybody, None, expose=expose, picked=picked)
    assert error.refusal.message == f"No deployment of g is left by {told}"
    assert error.refusal.param == "max_price"
    known = refused_by([CAPS], "g", everybody[1:], None, expose=False)
    assert known.refusal.message == "No deployment of g is left by max_price = {'prompt': 2.0}."


def test_only_the_error_itself_is_told() -> None:
    """LiteLLM puts what became of fallbacks behind a message; an upstream's error stays an upstream's error."""
    curated = no_endpoints("g", "curated", ["a"], ())
    sort = invalid_preference("provider.sort", "x", "price")
    told = f"litellm.BadRequestError: {curated.marked}"

    def body(message: object) -> bytes:
        return orjson.dumps({"error": {"message": message}})

    assert match_refusal(body(f"{told}\nNo fallback was attempted."), [sort, curated]) is curated
    assert match_refusal(body(f"litellm.BadRequestError: no. Fallback: {told}"), [curated]) is None
    for other in (body(7), b"[]", b"{", b'{"error": "x"}'):
        assert match_refusal(other, [curated]) is None


def test_a_redacted_refusal_is_told() -> None:
    """LiteLLM takes private addresses and hosts out of what clients read, also out of what we said."""
    lists = [no_endpoints(group, "curated", ["a"], ("10.0.0.5:8000", "vllm.internal")) for group in ("g", "h")]
    redacted = redact_internal_details(f"litellm.BadRequestError: {lists[1].marked}")
    assert "10.0.0.5" not in redacted
    assert (
        match_refusal(orjson.dumps({"error": {"message": f"{redacted} No fallback was attempted."}}), lists) is lists[1]
    )
