"""The sample of an answer, and the outcome of its request."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Outcome, Sample
from exacto_plugin.core.scoring.broken_answers import is_broken_answer
from exacto_plugin.core.scoring.tools import complexity
from exacto_plugin.litellm_hooks.request.call_details import TOOLS_KEY
from exacto_plugin.litellm_hooks.scoring.caller import caller_of, hashed
from exacto_plugin.litellm_hooks.scoring.log_event import tokens_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.core.scoring.attribution import Attribution
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.scoring.response import ParsedResponse


def sample_of(
    context: Context,
    kwargs: Mapping[str, Any],
    answer: ParsedResponse,
    attempt: Attempt,
    outcome: Outcome | None,
    attribution: Attribution,
    times: tuple[datetime, datetime],
) -> Sample:
    """Return the sample of an answer; ``times`` are those of sending and of its end."""
    tools: Sequence[Any] = kwargs.get(TOOLS_KEY) or ()
    counted, lost = outcome, False
    if attribution.flaws:
        counted, lost = context.settings.charge.charged_outcome(outcome, attribution)
    start, end = times
    first = kwargs.get("completion_start_time")
    streamed = bool(kwargs.get("stream"))
    caller = caller_of(kwargs)
    return Sample(
        model_group=attempt.model_group,
        deployment=attempt.candidate.key,
        at=context.clock(),
        tools_offered=bool(tools) and not answer.skip_reason,
        outcome=counted,
        lost=lost,
        flaws=attribution.flaws,
        blame=attribution.blame,
        input_tokens=tokens_in(kwargs, "prompt_tokens"),
        output_tokens=tokens_in(kwargs, "completion_tokens"),
        duration_s=(end - start).total_seconds(),
        first_token_s=(first - start).total_seconds() if streamed and isinstance(first, datetime) else None,
        streamed=streamed,
        routed=attempt.routed,
        probe=attempt.probe,
        caller=hashed(caller.key, context.salt),
        complexity=complexity(tools) if tools else 0,
        account=hashed(caller.account, context.salt),
    )


def request_outcome(
    answer: ParsedResponse, tools: Sequence[Any], outcome: Outcome | None, attribution: Attribution
) -> str:
    """Return the outcome of a request, as metrics name it."""
    if answer.skip_reason:
        return answer.skip_reason
    if is_broken_answer(attribution) and not attribution.lost and (outcome is None or not outcome.is_bad):
        return "broken"
    if not tools:
        return "no_tools"
    if outcome is not None:
        return outcome.value
    return "lost" if attribution.lost else "no_call"
