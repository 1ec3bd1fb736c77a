"""From LiteLLM's events to samples: which attempt an event is about, what counts, and by which clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Blame, Candidate, DeploymentKey, Flaw, LiteLLMId, Outcome, Sample, Tier
from exacto_plugin.core.scoring.evaluation import ToolCall
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.call_details import CHOICE_KEY, TOOLS_KEY
from exacto_plugin.litellm_hooks.request.state import LOG_KEY, RequestState
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.litellm_hooks.scoring.log_event import attempt_of
from tests.litellm_hooks.scoring.test_response import CALL, chat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exacto_plugin.litellm_hooks.scoring.scorer import ResponseScorer


NOW = 1_700_000_000.0
BEGAN = datetime(2026, 1, 1, 12)  # noqa: DTZ001 -- LiteLLM's times are naive
ENDED = BEGAN + timedelta(seconds=4)
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "required": ["a"]}}}]


class Unprocessable(Exception):
    """What an upstream says of a body that it does not like."""

    status_code = 422


class Recorder(Runtime):
    """A runtime that keeps its samples."""

    def __init__(self) -> None:
        super().__init__(Settings.model_validate({"tiers": {"preset": "openrouter"}}), clock=lambda: NOW)
        self.kept: list[Sample] = []
        self.samples.record = self._keep  # type: ignore[method-assign]

    def _keep(self, sample: Sample, candidate: Candidate) -> None:
        assert sample.deployment == candidate.key
        self.kept.append(sample)


@pytest.fixture
def runtime() -> Recorder:
    """A fresh recorder."""
    return Recorder()


def scorer_of(runtime: Runtime) -> ResponseScorer:
    """The scoring of a runtime."""
    return ExactoCallback(runtime).scoring


def attempt(key: str, **more: Any) -> Attempt:
    """An attempt on a deployment."""
    return Attempt(
        Candidate(LiteLLMId(key), DeploymentKey(key), f"provider-{key}"), "group", Tier.VERIFIED_GOOD, **more
    )


def event(*attempts: Attempt, at: str = "a", **more: Any) -> dict[str, Any]:
    """A log event of a request with these attempts, about the deployment ``at``."""
    payload = {
        "prompt_tokens": 30,
        "completion_tokens": 120,
        "model_group": "group",
        "metadata": {"user_api_key_hash": "hashed-key"},
    }
    return {
        "litellm_params": {"model_info": {"id": at}},
        "standard_logging_object": payload,
        "model": "openai/m",
        TOOLS_KEY: TOOLS,
        LOG_KEY: RequestState(attempts=list(attempts)),
        **more,
    }


def answered(runtime: Recorder, kwargs: Mapping[str, Any], *calls: ToolCall) -> Sample:
    """The one sample of an answer."""
    scorer_of(runtime).record_answer(kwargs, chat(*calls or (CALL,)), BEGAN, ENDED)
    (sample,) = runtime.kept
    return sample


def test_an_answer_is_a_sample(runtime: Recorder) -> None:
    """Verdict, tokens, duration, caller and case mix are in it; the time is the clock's."""
    sample = answered(runtime, event(attempt("a")))
    assert (sample.model_group, sample.deployment, sample.at, sample.ok) == ("group", "a", NOW, True)
    assert (sample.outcome, sample.tools_offered, sample.lost, sample.routed) == (Outcome.VALID, True, False, True)
    assert (sample.duration_s, sample.first_token_s, sample.streamed) == (4.0, None, False)
    assert (sample.input_tokens, sample.output_tokens) == (30, 120)
    assert sample.caller
    assert "hashed-key" not in sample.caller


def test_callers_are_told_apart_by_a_salted_hash(runtime: Recorder) -> None:
    """The same key is the same caller, in this installation only; no key is no caller."""
    scoring = scorer_of(runtime)
    for key in ("k1", "k2", "k1", None):
        payload = {"metadata": {"user_api_key_hash": key}}
        scoring.record_answer(event(attempt("a"), standard_logging_object=payload), chat(CALL), BEGAN, ENDED)
    one, two, again, nobody = (sample.caller for sample in runtime.kept)
    assert one == again != two
    assert nobody == ""


def test_keys_of_one_user_are_one_account(runtime: Recorder) -> None:
    """Keys are told apart within it; what a client calls itself is no account."""
    scoring = scorer_of(runtime)
    for key, user in (("k1", "u"), ("k2", "u"), ("k3", None)):
        metadata = {"user_api_key_hash": key, "user_api_key_user_id": user, "user_api_key_end_user_id": "me"}
        payload = {"metadata": metadata}
        scoring.record_answer(event(attempt("a"), standard_logging_object=payload), chat(CALL), BEGAN, ENDED)
    one, two, other = runtime.kept
    assert one.account == two.account != ""
    assert (one.caller != two.caller, other.account) == (True, "")


def test_a_stream_has_a_first_token(runtime: Recorder) -> None:
    """Its wait counts from when the attempt was sent."""
    first = BEGAN + timedelta(seconds=1.5)
    sample = answered(runtime, event(attempt("a"), stream=True, completion_start_time=first))
    assert (sample.streamed, sample.first_token_s, sample.duration_s) == (True, 1.5, 4.0)


def test_an_attempt_is_not_charged_for_those_before_it(runtime: Recorder) -> None:
    """LiteLLM's events of streams begin with the request; an attempt begins when it was sent."""
    first, sent = BEGAN + timedelta(seconds=3.5), BEGAN + timedelta(seconds=3)
    failed, served = attempt("a", ended=True), attempt("b", started_at=sent)
    sample = answered(runtime, event(failed, served, at="b", stream=True, completion_start_time=first))
    assert (sample.deployment, sample.duration_s, sample.first_token_s) == ("b", 1.0, 0.5)


def test_usage_that_is_missing_is_no_speed(runtime: Recorder) -> None:
    """Without a usage there are no tokens, whatever the answer holds."""
    assert answered(runtime, event(attempt("a"), standard_logging_object=None)).output_tokens == 0


@pytest.mark.parametrize("told", [-5, 10**400, 120.0, "120"])
def test_usage_that_cannot_be_is_no_speed(runtime: Recorder, told: object) -> None:
    """A provider that tells nonsense about its tokens is measured all the same."""
    payload = {"prompt_tokens": told, "completion_tokens": told}
    sample = answered(runtime, event(attempt("a"), standard_logging_object=payload))
    assert (sample.input_tokens, sample.output_tokens, sample.outcome) == (0, 0, Outcome.VALID)


@pytest.mark.parametrize(("kwargs", "kept"), [({"cache_hit": True}, 0), ({}, 1)])
def test_cache_hits_are_no_samples(runtime: Recorder, kwargs: Mapping[str, Any], kept: int) -> None:
    """Not even of speed."""
    scorer_of(runtime).record_answer(event(attempt("a"), **kwargs), chat(CALL), BEGAN, ENDED)
    assert len(runtime.kept) == kept


def test_what_may_not_be_judged_still_has_a_speed(runtime: Recorder) -> None:
    """A truncated answer counts for throughput and as no tool request at all."""
    scorer_of(runtime).record_answer(event(attempt("a")), chat(CALL, finish="length"), BEGAN, ENDED)
    (sample,) = runtime.kept
    assert (sample.output_tokens, sample.tools_offered, sample.outcome) == (120, False, None)


def test_the_newest_attempt_on_the_deployment_is_meant() -> None:
    """A deployment that was tried twice is asked about for its second answer."""
    twice = [attempt("a", ended=True), attempt("b", ended=True), attempt("a")]
    assert attempt_of(event(*twice), {"id": "a"}) is twice[2]
    assert attempt_of(event(*twice), {"id": "b"}) is twice[1]
    assert attempt_of(event(*twice), {}) is twice[2]


def test_without_a_state_the_event_itself_tells() -> None:
    """A plain SDK call is scored under provider, model and host; there was no router to choose it."""
    params = {"api_base": "https://api.deepinfra.com", "custom_llm_provider": "openai", "api_key": "sk-secret"}
    found = attempt_of({"litellm_params": params, "model": "m", "standard_logging_object": None}, {})
    assert (found.candidate.provider, found.model_group, found.direct) == ("deepinfra", "m", True)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("error", "samples"),
    [
        (litellm.InternalServerError("x", "p", "m"), 1),
        (litellm.RateLimitError("x", "p", "m"), 1),
        (litellm.Timeout("x", "m", "p"), 1),
        (litellm.AuthenticationError("x", "p", "m"), 1),
        (litellm.NotFoundError("x", "m", "p"), 1),
        (None, 1),
        (litellm.BadRequestError("x", "m", "p"), 0),
        (litellm.ContextWindowExceededError("x", "m", "p"), 0),
        (Unprocessable(), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures(runtime: Recorder, error: Exception | None, samples: int) -> None:
    """A failed attempt counts once, however often it is told; what the client sent wrong is not the deployment's."""
    scoring, failed = scorer_of(runtime), attempt("a")
    for _ in range(3):
        scoring.record_failure(failed, error)
    assert [(sample.deployment, sample.ok) for sample in runtime.kept] == [("a", False)] * samples


def test_a_failed_probe_is_one(runtime: Recorder) -> None:
    """Else nothing would end a burst of probes at a deployment that only fails."""
    scorer_of(runtime).record_failure(attempt("a", probe=True), None)
    scorer_of(runtime).record_failure(attempt("b"), None)
    assert [(sample.deployment, sample.probe) for sample in runtime.kept] == [("a", True), ("b", False)]


def test_a_broken_stream_is_the_only_attempts(runtime: Recorder) -> None:
    """LiteLLM's one failure event of a request is about its only attempt."""
    scorer_of(runtime).record_broken_stream(event(attempt("a")), OSError())
    assert [(sample.deployment, sample.ok) for sample in runtime.kept] == [("a", False)]


def test_a_failure_that_was_told_already_is_not_put_on_the_next(runtime: Recorder) -> None:
    """When another attempt had failed before, the one event is about that one, and the attempt at work is spared."""
    working = attempt("b")
    scorer_of(runtime).record_broken_stream(event(attempt("a", ended=True), working, at="b"), OSError())
    assert runtime.kept == []
    assert not working.ended


def test_a_request_that_failed_failed_in_its_last_attempt(runtime: Recorder) -> None:
    """The end of a streamed request tells of the stream that broke last, once."""
    scoring, state = scorer_of(runtime), RequestState(attempts=[attempt("a", ended=True), attempt("b")])
    for _ in range(2):
        scoring.record_last_failure(state, OSError())
    scoring.record_last_failure(RequestState(), OSError())
    assert [sample.deployment for sample in runtime.kept] == ["b"]


def recorder(preset: str) -> Recorder:
    """A recorder under a tier preset."""
    runtime = Recorder()
    runtime.context.settings = Settings.model_validate({"tiers": {"preset": preset}})
    return runtime


REQUIRED: Any = {CHOICE_KEY: "required"}
ORPHAN: Any = {"messages": [{"role": "tool", "tool_call_id": "x", "content": "sunny"}]}
BAD = ToolCall("f", "{}")
LEAKED = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'
ANOTHER = LEAKED.replace("1", "2")


@pytest.mark.parametrize(
    ("preset", "more", "response", "counted", "flaws", "blame"),
    [
        ("adaptive", {}, chat(CALL), (Outcome.VALID, False), (), None),
        ("adaptive", {}, chat(BAD), (Outcome.SCHEMA_MISMATCH, False), (Flaw.SCHEMA_MISMATCH,), Blame.PROVIDER),
        ("adaptive", {}, chat(), (None, True), (Flaw.MISSING_CALL,), Blame.PROVIDER),
        ("openrouter", {}, chat(), (None, False), (Flaw.MISSING_CALL,), Blame.PROVIDER),
        ("adaptive", REQUIRED, chat(finish="stop", content="Hi"), (None, True), (Flaw.IGNORED_CHOICE,), Blame.PROVIDER),
        ("openrouter", REQUIRED, chat(finish="stop"), (None, False), (Flaw.IGNORED_CHOICE,), Blame.PROVIDER),
        ("adaptive", {"optional_params": {"tool_choice": {"type": "any"}}}, chat(finish="stop"), (None, True),
         (Flaw.IGNORED_CHOICE,), Blame.PROVIDER),
        ("adaptive", ORPHAN, chat(BAD), (Outcome.UNSCORED, False), (Flaw.SCHEMA_MISMATCH, Flaw.BROKEN_HISTORY),
         Blame.CALLER),
        ("openrouter", ORPHAN, chat(BAD), (Outcome.SCHEMA_MISMATCH, False),
         (Flaw.SCHEMA_MISMATCH, Flaw.BROKEN_HISTORY), Blame.CALLER),
        ("adaptive", {**ORPHAN, "optional_params": {"previous_response_id": "r"}}, chat(BAD),
         (Outcome.SCHEMA_MISMATCH, False), (Flaw.SCHEMA_MISMATCH,), Blame.PROVIDER),
        ("adaptive", {}, chat(finish="stop", content=LEAKED), (None, True), (Flaw.LEAKED_MARKUP,), Blame.PROVIDER),
        ("adaptive", {}, chat(CALL, content=LEAKED), (Outcome.VALID, False), (), None),
        ("adaptive", {}, chat(CALL, content=ANOTHER), (None, True), (Flaw.LEAKED_MARKUP,), Blame.PROVIDER),
        ("openrouter", {}, chat(CALL, content=ANOTHER), (Outcome.VALID, False), (Flaw.LEAKED_MARKUP,), Blame.PROVIDER),
        ("adaptive", {}, chat(finish="length", content=LEAKED), (None, False), (Flaw.TRUNCATED,), Blame.LIMIT),
        ("adaptive", {}, chat(BAD, finish="length"), (None, False), (Flaw.TRUNCATED,), Blame.LIMIT),
    ],
)  # fmt: skip
def test_flaws_and_blame_are_in_the_sample(
    preset: str,
    more: Mapping[str, Any],
    response: Any,
    counted: tuple[Outcome | None, bool],
    flaws: tuple[Flaw, ...],
    blame: Blame | None,
) -> None:
    """What tiers count depends on the preset; what is seen, and whose fault it is, does not."""
    runtime = recorder(preset)
    scorer_of(runtime).record_answer(event(attempt("a"), **more), response, BEGAN, ENDED)
    (sample,) = runtime.kept
    assert (sample.outcome, sample.lost) == counted
    assert (sample.flaws, sample.blame) == (flaws, blame)
    assert runtime.samples.flaws.of("group", "a") == dict.fromkeys(flaws, 1)


def test_a_client_that_leaves_is_counted_and_leaves_no_sample(runtime: Recorder) -> None:
    """It says nothing about the deployment, not even how fast it is; without tools it is no flaw of a call either."""
    left: dict[str, Any] = {"litellm_params": {"model_info": {"id": "a"}, "metadata": {"client_disconnected": True}}}
    scorer_of(runtime).record_answer(event(attempt("a"), **left), chat(BAD), BEGAN, ENDED)
    scorer_of(runtime).record_answer(event(attempt("a"), **{**left, TOOLS_KEY: None}), chat(BAD), BEGAN, ENDED)
    assert runtime.kept == []
    assert runtime.samples.flaws.by_blame[Blame.CLIENT] == runtime.samples.flaws.total[Flaw.DISCONNECTED] == 1


def test_the_place_of_a_mismatch_is_kept(runtime: Recorder) -> None:
    """Kind and schema path of a bad answer, without any of its values; a good one leaves nothing."""
    tools = [{"type": "function", "function": {"name": "book", "parameters": SCHEMA}}]
    scorer = scorer_of(runtime)
    for arguments in ('{"guests": "secret-four"}', '{"guests": 4}', '{"guests": "x"'):
        call = ToolCall("book", arguments)
        scorer.record_answer({**event(attempt("a")), TOOLS_KEY: tools}, chat(call), BEGAN, ENDED)
    found = runtime.recorder.failures.of("group", "a")
    assert [(one.kind, one.path) for one in found] == [("invalid_json", ""), ("schema_mismatch", "/guests#type")]
    assert "secret" not in str(found)
    assert all(one.request for one in found)


SCHEMA = {"type": "object", "properties": {"guests": {"type": "integer"}}, "additionalProperties": False}
