"""The quality of an answer, by which the rescue decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.model import Blame
from exacto_plugin.core.routing.rescue import AnswerQuality
from exacto_plugin.core.scoring.attribution import Ending
from exacto_plugin.core.scoring.broken_answers import is_broken_answer
from exacto_plugin.core.scoring.evaluator import worst
from exacto_plugin.litellm_hooks.scoring.response import has_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.core.scoring.attribution import Attribution
    from exacto_plugin.core.scoring.evaluation import Evaluation
    from exacto_plugin.litellm_hooks.scoring.response import ParsedResponse


def quality_of(
    answer: ParsedResponse, evaluations: Sequence[Evaluation], attribution: Attribution, response: Any
) -> AnswerQuality:
    """Return the quality of an answer for the rescue.

    Args:
        answer: the parsed response.
        evaluations: of its calls.
        attribution: of its flaws.
        response: the answer itself, in any surface's form.
    """
    broken = is_broken_answer(attribution)
    excused = attribution.blame not in (None, Blame.PROVIDER)
    cut = not broken and (bool(answer.skip_reason) or answer.ending is Ending.REFUSAL)
    return AnswerQuality(worst(evaluations), attribution.lost, excused, cut, has_text(response), broken)
