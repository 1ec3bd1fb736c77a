"""The callback's hooks, as LiteLLM calls them: what they remember, what they take out, what they leave alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.routing.policy import Slug
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY
from exacto_plugin.litellm_hooks.request.state import ATTEMPT_KEY, CURRENT, LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exacto_plugin.core.model import Candidate, Sample

TOOLS = [{"type": "function", "function": {"name": "f"}}]
SETTINGS = Settings.model_validate({"curated": {"g": ["a"], "openai/m": ["a"]}})


class Recorder(Runtime):
    """A runtime that keeps its samples."""

    def __init__(self) -> None:
        super().__init__(SETTINGS, clock=lambda: 1_700_000_000.0)
        self.kept: list[Sample] = []
        self.samples.record = self._keep  # type: ignore[method-assign]

    def _keep(self, sample: Sample, candidate: Candidate) -> None:
        self.kept.append(sample)


@pytest.fixture
def callback() -> ExactoCallback:
    """A callback whose samples can be read."""
    return ExactoCallback(Recorder())


@pytest.fixture
def state() -> Iterator[RequestState]:
    """The state of an HTTP request for ``g``."""
    state = RequestState(http=True, model_group="g")
    token = CURRENT.set(state)
    yield state
    CURRENT.reset(token)


def samples(callback: ExactoCallback) -> list[tuple[str, bool]]:
    """Which deployment's attempts were counted, and whether they were answered."""
    assert isinstance(callback.runtime, Recorder)
    return [(sample.deployment, sample.ok) for sample in callback.runtime.kept]


def call(
    litellm_id: str = "a",
    retry: int | None = None,
    depth: int | None = None,
    details: Any = None,
    suffixes: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What LiteLLM sends to a deployment."""
    metadata: dict[str, Any] = {"model_group": "g", "model_info": {"id": litellm_id}}
    if retry is not None:
        metadata["attempted_retries"] = retry
    kwargs: dict[str, Any] = {"model": "openai/m", "model_info": {"id": litellm_id}, "metadata": metadata, **more}
    if suffixes is not None:
        kwargs[SUFFIXES_KEY] = suffixes
    if depth is not None:
        kwargs["fallback_depth"] = depth
    if details is not None:
        kwargs["litellm_logging_obj"] = SimpleNamespace(model_call_details=details)
    return kwargs


async def _send(callback: ExactoCallback, *calls: Mapping[str, Any]) -> None:
    for kwargs in calls:
        await callback.async_pre_call_deployment_hook(dict(kwargs), None)


async def test_a_call_is_remembered(callback: ExactoCallback, state: RequestState) -> None:
    """The attempt and the tools as the client sent them hang on LiteLLM's logging object."""
    details: dict[str, Any] = {}
    await _send(callback, call(details=details, tools=TOOLS))
    assert details == {LOG_KEY: state, ATTEMPT_KEY: state.attempts[0], TOOLS_KEY: TOOLS}
    assert [attempt.candidate.id for attempt in state.attempts] == ["a"]
    assert state.attempts[0].started_at is not None


async def test_translated_tools_do_not_replace_the_clients(callback: ExactoCallback, state: RequestState) -> None:
    """Where LiteLLM serves one surface through another, the hook is called twice, and the first call counts."""
    details: dict[str, Any] = {}
    await _send(callback, call(details=details, tools=TOOLS), call(details=details, tools=[{"name": "translated"}]))
    assert details[TOOLS_KEY] == TOOLS
    assert len(state.attempts) == 1


async def test_the_older_form_of_tools_is_kept(callback: ExactoCallback, state: RequestState) -> None:
    """``functions`` are tools."""
    details: dict[str, Any] = {}
    await _send(callback, call(details=details, functions=[{"name": "f"}]))
    assert details[TOOLS_KEY] == [{"name": "f"}]


@pytest.mark.parametrize(
    ("model", "kept"), [("openai/m", set()), ("openrouter/m", {"provider", "models"})], ids=["other", "openrouter"]
)
async def test_nothing_of_ours_goes_out(
    callback: ExactoCallback, state: RequestState, model: str, kept: set[str]
) -> None:
    """Our key never leaves; ``provider`` and ``models`` go to OpenRouter only."""
    asked = call(provider={"sort": "price"}, models=["x"], suffixes="exacto")
    sent = await callback.async_pre_call_deployment_hook({**asked, "model": model}, None)
    assert sent is not None
    assert sent.keys() & {"provider", "models", SUFFIXES_KEY} == kept


async def test_nothing_of_ours_goes_out_after_a_fault(
    callback: ExactoCallback, state: RequestState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while remembering the attempt does not send our keys upstream."""
    monkeypatch.setattr(callback, "routing", None)
    sent = await callback.async_pre_call_deployment_hook(call(provider={}, models=["x"], suffixes=""), None)
    assert sent is not None
    assert not sent.keys() & {"provider", "models", SUFFIXES_KEY}
    assert callback.faults.counts == {"pre_call": 1}


@pytest.mark.parametrize("again", [call("b", retry=1), call("b", depth=1), call("a", retry=1), call("a", depth=1)])
async def test_moving_on_tells_of_a_failure(
    callback: ExactoCallback, state: RequestState, again: Mapping[str, Any]
) -> None:
    """A retry or a fallback hop, also on the same deployment, means that the attempt before it failed."""
    await _send(callback, call("a"), again)
    assert samples(callback) == [("a", False)]
    assert [attempt.ended for attempt in state.attempts] == [True, False]


async def test_a_failure_that_was_told_is_not_counted_again(callback: ExactoCallback, state: RequestState) -> None:
    """The hook for failed attempts comes first; moving on then adds nothing."""
    await _send(callback, call("a"))
    error = litellm.InternalServerError("x", "p", "m")
    await callback.async_post_call_failure_deployment_hook(call("a", details={LOG_KEY: state}), error, None)
    await _send(callback, call("b", retry=1))
    assert samples(callback) == [("a", False)]


async def test_a_nested_call_is_no_failure(callback: ExactoCallback, state: RequestState) -> None:
    """The second call of the same attempt, through another surface and without LiteLLM's counters, changes nothing."""
    await _send(callback, call("a"), call("b", retry=1), call("b"))
    assert samples(callback) == [("a", False)]
    assert len(state.attempts) == 2


async def test_direct_calls_of_one_task_are_requests_of_their_own(callback: ExactoCallback) -> None:
    """A program that asks LiteLLM again and again in one task leaves nothing behind that grows."""
    token = CURRENT.set(None)
    for _ in range(5):
        details: dict[str, Any] = {}
        await _send(callback, call("", details=details), call("", details=details))
        state = CURRENT.get()
        assert state is not None
        assert len(state.attempts) <= 2
        assert details[LOG_KEY] is state
    assert samples(callback) == []
    CURRENT.reset(token)


async def test_registered_twice_counts_once(callback: ExactoCallback, state: RequestState) -> None:
    """With the callback twice in LiteLLM's list every hook runs twice, and each attempt is still one."""
    details: dict[str, Any] = {}
    error = litellm.InternalServerError("x", "p", "m")
    await _send(callback, call(details=details, tools=TOOLS), call(details=details, tools=TOOLS))
    for _ in range(2):
        await callback.async_post_call_failure_deployment_hook(call("a", details=details), error, None)
    assert samples(callback) == [("a", False)]


CHECK = {"tags": ["litellm-internal-health-check"]}


async def test_health_checks_leave_no_trace(callback: ExactoCallback) -> None:
    """LiteLLM's own checks are neither attempts nor failures."""
    details: dict[str, Any] = {}
    check = call(details=details, litellm_metadata=CHECK)
    await _send(callback, check)
    await callback.async_post_call_failure_deployment_hook(check, OSError(), None)
    event = {"exception": OSError(), "stream": True, "litellm_params": check}
    await callback.async_log_failure_event(event, None, *2 * [None])  # type: ignore[arg-type]
    assert (CURRENT.get(), details, samples(callback)) == (None, {}, [])


@pytest.mark.parametrize("tags", [CHECK["tags"], "litellm-internal-health-check", 5, None])
async def test_clients_cannot_pass_for_health_checks(callback: ExactoCallback, state: RequestState, tags: Any) -> None:
    """A request with the tag of a health check, or with tags that are none, is a request like any other."""
    await _send(callback, call(litellm_metadata={"tags": tags}, metadata={"model_group": "g", "tags": tags}))
    assert len(state.attempts) == 1
    assert callback.faults.counts == {}


async def test_whole_answers_have_no_failure_event(callback: ExactoCallback, state: RequestState) -> None:
    """A failure event counts for streams only; of whole answers the other hook has told."""
    await _send(callback, call("a"))
    for stream, counted in ((False, []), (True, [("a", False)])):
        event = {"exception": OSError(), "stream": stream, LOG_KEY: state}
        await callback.async_log_failure_event(event, None, *2 * [state])  # type: ignore[arg-type]
        assert samples(callback) == counted


@pytest.mark.parametrize(
    ("error", "stream", "counted"),
    [
        (litellm.APIConnectionError("x", "p", "m"), True, [("a", False)]),
        (litellm.APIConnectionError("x", "p", "m"), False, []),
        (ValueError("a guardrail said no"), True, []),
    ],
)
async def test_the_end_of_a_request(
    callback: ExactoCallback, state: RequestState, error: Exception, stream: bool, counted: list[tuple[str, bool]]
) -> None:
    """A streamed request that ends with a provider's error broke in its last attempt; other errors blame nobody."""
    await _send(callback, call("a"))
    await callback.async_post_call_failure_hook({"stream": stream}, error, None)
    assert samples(callback) == counted


def _deployments(model: str = "openai/m") -> list[dict[str, Any]]:
    return [{"litellm_params": {"model": model}, "model_info": {"id": key}} for key in ("a", "b")]


@pytest.mark.parametrize(
    ("slug", "hop", "refused"),
    [
        (None, None, False),
        (Slug("g", ("floor",)), None, False),
        (Slug("g", ("exacto", "floor")), None, True),
        (None, "exacto", True),
        (None, "exacto:floor", True),
        (Slug("g", ("exacto",)), "", False),
    ],
)
async def test_a_fault_while_filtering(
    callback: ExactoCallback,
    state: RequestState,
    monkeypatch: pytest.MonkeyPatch,
    slug: Slug | None,
    hop: str | None,
    refused: bool,
) -> None:
    """Without ``:exacto`` LiteLLM's list goes on; with it, in the slug or in a fallback's entry, the request ends."""
    monkeypatch.setattr(callback.routing, "filter", None)
    state.slugs.slug = slug
    kwargs = call() if hop is None else call(depth=1, suffixes=hop)
    if refused:
        with pytest.raises(ExactoRefusedError) as caught:
            await callback.async_filter_deployments("g", _deployments(), None, kwargs)
        assert caught.value.__suppress_context__, "LiteLLM would write down what it came from"
        assert [refusal.status for refusal in state.routing.refusals] == [404]
    else:
        assert await callback.async_filter_deployments("g", _deployments(), None, kwargs) == _deployments()
    assert callback.faults.counts == {"filter": 1}


@pytest.mark.parametrize(
    ("model", "upstream", "refused"),
    [
        ("openai/m:exacto", "openai/m", True),
        ("openai/m:floor:exacto", "openai/m", True),
        ("openai/m:exacto", "openrouter/m", False),
        ("openai/other:exacto", "openai/m", False),
        ("openai/m:floor", "openai/m", False),
    ],
)
async def test_a_slug_that_nobody_read(
    callback: ExactoCallback, state: RequestState, model: str, upstream: str, refused: bool
) -> None:
    """A suffix that came through a wildcard whole does not lead past a curated list, unless OpenRouter reads it."""
    deployments = _deployments(upstream)
    if refused:
        with pytest.raises(ExactoRefusedError):
            await callback.async_filter_deployments(model, deployments, None, call())
    else:
        assert await callback.async_filter_deployments(model, deployments, None, call()) == deployments
