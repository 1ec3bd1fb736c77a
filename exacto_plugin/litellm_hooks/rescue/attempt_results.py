"""Results of the attempts of one rescue, and their cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from exacto_plugin.core.routing.rescue import AnswerQuality
    from exacto_plugin.litellm_hooks.request.attempts import Attempt


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """Attempt with its answer and quality; both None when it failed."""

    attempt: Attempt
    answer: Any
    quality: AnswerQuality | None
    outcome: str
    """Outcome as in :func:`outcome_of`; ``not_asked`` for the bad answer itself."""


def cost_of(logging: Any, answer: Any, attempt: Attempt) -> float | None:
    """Return the cost of an answer in USD by LiteLLM's count; None without a price.

    Args:
        logging: LiteLLM's logging object of the attempt.
        answer: the whole answer.
        attempt: the attempt that produced the answer.
    """
    cost = logging.response_cost_calculator(result=answer, router_model_id=attempt.candidate.id)
    return float(cost) if isinstance(cost, (int, float)) else None


def priced_usage(usage: Any, replaced: Any, cost: float | None) -> Any:
    """Return a copy of an answer's usage for the place of another's in a stream.

    It has the answer's own cost where the other has one, as LiteLLM writes it into streams only.

    Args:
        usage: of a whole answer, as a model.
        replaced: the usage that the stream would have reported.
        cost: of the answer in USD; None where it is unknown.
    """
    copy = usage.model_copy()
    if cost is not None and getattr(replaced, "cost", None) is not None:
        copy.cost = cost
    return copy


def total_cost(attempts: Iterable[Attempt]) -> float | None:
    """Return the known costs of these attempts' answers in USD, summed."""
    known = [attempt.cost for attempt in attempts if attempt.cost is not None]
    return sum(known) if known else None


def outcome_of(task: asyncio.Future[Any]) -> str:
    """Return the outcome of a further attempt that did not replace the answer."""
    if not task.done() or task.cancelled():
        return "too_late"
    return "in_vain" if task.exception() is None else "failed"


def request_outcome(judged: AnswerQuality, *, tools: bool) -> str:
    """Return the outcome of a request by the quality of the answer that it got."""
    if judged.outcome:
        return judged.outcome.value
    if judged.broken:
        return "broken"
    return "lost" if judged.lost else "no_call" if tools else "no_tools"
