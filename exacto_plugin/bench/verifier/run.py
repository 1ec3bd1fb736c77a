"""One run of the verifier: its sequential test, and its record."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.bench.refusals import MOST_ERRORS
from exacto_plugin.bench.verifier.replay import Endpoint, Tally, replay
from exacto_plugin.benchmark_scores.sequential import MOST_CALLS, FailureTest, RunDecision
from exacto_plugin.benchmark_scores.verifier import LEAST_COMPARED, compared_with, upper_rate
from exacto_plugin.records import VerifierRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exacto_plugin.bench.verifier.scoring import AnswerScorer
    from exacto_plugin.bench.verifier.suite import Suite


class ReplaySubject(NamedTuple):
    """The deployment that a run is about."""

    model_group: str
    deployment: str
    endpoint: Endpoint


def run_suite(
    suite: Suite,
    scorer: AnswerScorer,
    subject: ReplaySubject,
    earlier: Sequence[VerifierRecord],
    reference: str | None,
    *,
    max_usd: float | None = None,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> VerifierRecord:
    """Replay a suite against a deployment, and return the record of the run.

    Args:
        suite: the requests.
        scorer: of the answers.
        subject: the deployment.
        earlier: newest accepted run of each other deployment of the model group.
        reference: the deployment that the others are compared with; its own run uses all calls.
        max_usd: money for this run; None: unlimited.
        progress: called after each answer.
    """
    digest, started = suite.digest(scorer.name), time.time()
    others = [one for one in earlier if one.suite == digest]
    is_decided = stops_at(subject.deployment, others, reference)
    tally = asyncio.run(replay(suite, subject.endpoint, scorer, is_decided, max_usd=max_usd, progress=progress))
    return _record(tally, subject, digest, started)


def _record(tally: Tally, subject: ReplaySubject, digest: str, started: float) -> VerifierRecord:
    return VerifierRecord(
        at=time.time(),
        started=started,
        model_group=subject.model_group,
        deployment=subject.deployment,
        run=secrets.token_hex(6),
        suite=digest,
        requests=tally.answers,
        errors=tally.errors,
        calls=tally.calls,
        bad=tally.bad,
        flaws=dict(tally.flaws),
        triggers=tally.triggers,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        cost=tally.cost,
        refused=refusal_of(tally, subject),
    )


def stops_at(deployment: str, others: Sequence[VerifierRecord], reference: str | None) -> Callable[[int, int], bool]:
    """Return the rule that ends a run, given its calls and the bad ones."""
    chosen = compared_with(deployment, others, reference)
    test = FailureTest.against(0.0 if chosen is None else upper_rate(chosen))

    def is_decided(calls: int, bad: int) -> bool:
        if calls >= MOST_CALLS:
            return True
        if deployment == reference or (chosen is None and calls < LEAST_COMPARED):
            return False
        return test.decide(calls, bad) is not RunDecision.UNDECIDED

    return is_decided


def refusal_of(tally: Tally, subject: ReplaySubject) -> str:
    """Return the reason for which a run does not count; empty if it does."""
    if not tally.answers:
        return f"no answer: {tally.errors} requests ended in an error" if tally.errors else "no request was sent"
    if tally.errors > MOST_ERRORS * tally.asked:
        return f"{tally.errors} of {tally.asked} requests ended in an error (at most {MOST_ERRORS:.0%} may)"
    if not tally.output_tokens:
        return "the deployment generated no token: something else answered"
    if others := sorted(tally.answered_by - {subject.deployment, subject.endpoint.model}):
        return f"other deployments answered: {', '.join(others[:3])}"
    return ""
