"""Average tokens of a request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exacto_plugin.core.model import DeploymentKey, Sample
from exacto_plugin.core.windows.token_usage import HALF_LIFE_S, KNOWN_FROM, TokenUsage

ANSWER = Sample("g", DeploymentKey("a"), 1000.0, input_tokens=300, output_tokens=100)


def noted(*samples: Sample) -> TokenUsage:
    """The averages after these answers, each as often as an average needs."""
    use = TokenUsage()
    for sample in samples:
        for _ in range(int(KNOWN_FROM)):
            use.add(sample)
    return use


def test_an_average_is_known_from_a_few_answers() -> None:
    """Not from one, and by model group and deployment."""
    use = TokenUsage()
    use.add(ANSWER)
    assert use.average("g", DeploymentKey("a")) is None
    use = noted(ANSWER, replace(ANSWER, input_tokens=100))
    assert use.average("g", DeploymentKey("a")) == (200.0, 100.0)
    assert use.average("g", DeploymentKey("b")) is None
    assert use.average("h", DeploymentKey("a")) is None


@pytest.mark.parametrize("silent", [replace(ANSWER, ok=False), replace(ANSWER, input_tokens=0, output_tokens=0)])
def test_what_says_nothing_counts_nothing(silent: Sample) -> None:
    """Failed attempts, and answers without usage."""
    assert noted(silent).average("g", DeploymentKey("a")) is None


def test_old_answers_fade() -> None:
    """After a half-life they weigh half; a clock that went back makes none of them heavier."""
    later = replace(ANSWER, at=ANSWER.at + HALF_LIFE_S, output_tokens=400)
    assert noted(ANSWER, later).average("g", DeploymentKey("a")) == pytest.approx((300.0, 300.0))
    earlier = replace(ANSWER, at=ANSWER.at - 10 * HALF_LIFE_S, output_tokens=400)
    assert noted(ANSWER, earlier).average("g", DeploymentKey("a")) == pytest.approx((300.0, 250.0))


def test_who_is_gone_is_forgotten() -> None:
    """Only the named ones are kept."""
    use = noted(ANSWER, replace(ANSWER, deployment=DeploymentKey("b")), replace(ANSWER, model_group="h"))
    use.retain({("g", DeploymentKey("b")), ("g", DeploymentKey("c"))})
    assert len(use) == 1
    assert use.average("g", DeploymentKey("b")) == (300.0, 100.0)
