"""Rescue's parts at the seam: what the second ask carries, and what of a stream is held back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.routing.rescue import AnswerQuality
from exacto_plugin.litellm_hooks.callback import ExactoCallback
from exacto_plugin.litellm_hooks.request.call_details import RescuableAttempt
from exacto_plugin.litellm_hooks.request.state import RequestState
from exacto_plugin.litellm_hooks.rescue.chat import ChatBuffer
from exacto_plugin.litellm_hooks.rescue.retry_request import retry_request
from exacto_plugin.litellm_hooks.rescue.streams import BufferedStream
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.litellm_hooks.scoring.response import has_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def test_the_second_ask_is_its_own() -> None:
    """Own call, own logging object, own metadata without the first's budget reservation; whole, and nobody twice."""
    metadata = {"user_api_key": "k", "user_api_key_budget_reservation": {"reserved_cost": 1}, "model_info": {"id": "a"}}
    first = {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "litellm_logging_obj": object(),
        "litellm_call_id": "c",
        "metadata": metadata,
    }
    asked = retry_request(first, {"b", "a"})
    assert asked == {
        "model": "m",
        "stream": False,
        "metadata": {"user_api_key": "k", "model_info": {"id": "a"}},
        "_excluded_deployment_ids": ["a", "b"],
    }
    asked["metadata"]["model_info"] = {"id": "b"}
    assert metadata["model_info"] == {"id": "a"}


def test_text_is_found() -> None:
    """Whether an answer says something, in each surface's form."""
    call = {"type": "tool_use", "name": "f", "input": {"a": 1}}
    assert has_text({"content": [call, {"type": "text", "text": "yes"}]})
    message = {"role": "assistant", "content": "yes"}
    assert has_text(litellm.ModelResponse(choices=[{"message": message, "finish_reason": "stop"}]))
    assert not has_text(litellm.ModelResponse(choices=[{"message": {**message, "content": None}}]))
    items = [{"type": "message", "content": [{"type": "output_text", "text": "yes"}]}]
    assert has_text(type("Response", (), {"output": items})())
    assert not has_text({"content": [call]})


class _Stream:
    """A stream of chunks that were made before, as LiteLLM's are seen from outside."""

    def __init__(self, chunks: list[ModelResponseStream]) -> None:
        self.chunks = chunks
        self.logging_obj: Any = type("Logging", (), {"model_call_details": {}})()

    async def __aiter__(self) -> AsyncIterator[ModelResponseStream]:
        for chunk in self.chunks:
            yield chunk

    async def aclose(self) -> None:
        """Nothing to close."""


def _chunk(delta: dict[str, Any], finish: str | None = None) -> ModelResponseStream:
    return ModelResponseStream(id="x", choices=[StreamingChoices(delta=Delta(**delta), finish_reason=finish)])


async def test_text_flows_while_a_call_is_held() -> None:
    """Text before, beside and after the pieces of a call comes at once; the call comes whole at the end."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    stream = _Stream(
        [
            _chunk({"role": "assistant", "content": ""}),
            _chunk({"content": "Let "}),
            _chunk({"content": "me ", "tool_calls": [call]}),
            _chunk({"content": "look"}),
            _chunk({}, "tool_calls"),
        ]
    )
    state = RequestState(attempts=[])
    callback = ExactoCallback(Runtime(Settings.model_validate({"rescue": {"enabled": True}})))
    attempt: Any = type("Attempt", (), {"judged": AnswerQuality()})()
    asked: Any = RescuableAttempt(None, {}, stream.logging_obj)  # type: ignore[arg-type]
    held = BufferedStream(stream, ChatBuffer(stream), callback.rescue, state, attempt, asked)
    seen = [
        (delta.content or "", bool(getattr(delta, "tool_calls", None)), chunk.choices[0].finish_reason)
        async for chunk in held
        for delta in (chunk.choices[0].delta,)
    ]
    assert seen == [
        ("", False, None),
        ("Let ", False, None),
        ("me ", False, None),
        ("look", False, None),
        ("", True, None),
        ("", False, "tool_calls"),
    ]
    assert stream.chunks[2].choices[0].delta.tool_calls  # what LiteLLM logs is untouched
