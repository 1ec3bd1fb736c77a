"""Buffer for streams of text completions, which have neither calls nor reasoning.

Only a beginning that may be a broken answer's is held back; later text is passed on as it comes.
"""

from __future__ import annotations

from typing import Any

from litellm import TextCompletionResponse

from exacto_plugin.litellm_hooks.rescue.attempt_results import priced_usage
from exacto_plugin.litellm_hooks.rescue.streams import StreamBuffer


class TextBuffer(StreamBuffer):
    """Buffer for the chunks of one text completion."""

    def __init__(self, _stream: Any = None) -> None:
        super().__init__()

    def feed(self, chunk: Any) -> list[Any]:
        """Return the chunk, since text is passed on at once."""
        return [chunk]

    def begins(self, chunk: Any) -> bool:
        """Return whether the text has begun well with a chunk."""
        return self.begins_with("".join(choice.text or "" for choice in chunk.choices))

    def hold(self, chunks: list[Any]) -> None:
        """Take all chunks of a text of which nothing was sent."""
        self.kept = chunks

    def answer(self) -> Any:
        """Return the whole completion."""
        texts: dict[int, str] = {}
        reasons: dict[int, str] = {}
        for choice in (choice for chunk in self.kept for choice in chunk.choices):
            texts[choice.index] = texts.get(choice.index, "") + (choice.text or "")
            reasons[choice.index] = choice.finish_reason or reasons.get(choice.index, "stop")
        choices = [{"index": place, "text": text, "finish_reason": reasons[place]} for place, text in texts.items()]
        made = TextCompletionResponse(choices=choices)
        usage = self._usage()
        if usage is not None:
            made.usage = usage
        return made

    def replacement(self, answer: Any, cost: float | None = None) -> list[Any]:
        """Return the other completion as one chunk for each choice, with its usage."""
        head = {"id": answer.id, "created": answer.created, "model": answer.model, "object": "text_completion"}
        pieces = [
            TextCompletionResponse(**head, choices=[{"index": one.index, "text": one.text, "finish_reason": reason}])
            for one in answer.choices
            for reason in (one.finish_reason or "stop",)
        ]
        counted = self._usage()
        if pieces and counted is not None and getattr(answer, "usage", None) is not None:
            pieces[-1].usage = priced_usage(answer.usage, counted, cost)
        return pieces

    def _usage(self) -> Any:
        """Return the usage that the stream reported; None without one."""
        reported = (getattr(chunk, "usage", None) for chunk in reversed(self.kept))
        return next((usage for usage in reported if usage is not None), None)
