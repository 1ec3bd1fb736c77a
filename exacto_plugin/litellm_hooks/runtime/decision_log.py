"""Selection of requests for the record: a random share, and unusual ones.

A request is written once all its data are known, some time after its end, and never on its path. Holds no text of a
request: deployments, tiers, verdicts, counts and times.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.refusal import NO_ENDPOINTS
from exacto_plugin.records import DecisionRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.litellm_hooks.refusal import Refusal
    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.request.state import RequestState

_CAPACITY = 20_000
"""Most pending requests; further ones are not recorded."""

_SETTLED_S = 2.0
"""Seconds after the last event of a finished request.

Its evaluations follow shortly after its last byte.
"""

_SILENT_S = 90.0
"""Seconds after the last event of a request without a known end.

LiteLLM waits no longer between two attempts.
"""

_LONGEST_S = 3600.0
"""Seconds without an event after which a request is written as it is."""


class DecisionKind(StrEnum):
    """The reason why a request is on record."""

    REFUSED = "refused"
    """A hard filter left no deployment: a curated list, ``only``, ``max_price``."""
    RESCUED = "rescued"
    RESCUE_FAILED = "rescue_failed"
    """Other deployments were called after a bad answer, and none gave a better one."""
    FAILED_OVER = "failed_over"
    EXPLORATION = "exploration"
    """A probe."""
    SAMPLED = "sampled"
    """An ordinary request of the random share."""


@dataclass(slots=True)
class _PendingDecision:
    """One request that may have to be written."""

    state: RequestState
    at: float
    updated_at: float
    sampled: bool
    ended: bool = False
    answered: bool = False


class DecisionLog:
    """The pending requests of one process. Thread-safe.

    Args:
        share: returns the share of ordinary requests that are recorded.
        write: stores a record.
        draw: uniform random numbers in [0, 1).
    """

    def __init__(
        self,
        share: Callable[[], float],
        write: Callable[[DecisionRecord], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._write = write
        self._draw = draw
        self._lock = threading.Lock()
        self._pending: dict[str, _PendingDecision] = {}

    def note(self, state: RequestState, now: float, *, ended: bool = False, answered: bool = False) -> None:
        """Note an event of a request: a decision, an answer, a refusal or its end."""
        with self._lock:
            known = self._pending.get(state.decision_id)
            if known is None:
                if len(self._pending) >= _CAPACITY:
                    return
                known = self._pending[state.decision_id] = _PendingDecision(
                    state, now, now, self._draw() < self._share()
                )
            known.updated_at = now
            known.ended |= ended
            known.answered |= answered

    def flush(self, now: float) -> None:
        """Write and drop the requests that are over."""
        with self._lock:
            over = [one for one in self._pending.values() if _is_over(one, now)]
            for one in over:
                del self._pending[one.state.decision_id]
        for one in over:
            kind = kind_of(one.state)
            if kind is not DecisionKind.SAMPLED or one.sampled:
                self._write(record_of(one.state, kind, one.at))


def _is_over(one: _PendingDecision, now: float) -> bool:
    quiet_s, state = now - one.updated_at, one.state
    if quiet_s < _SETTLED_S:
        return False
    if quiet_s > _LONGEST_S or one.ended:
        return True
    if state.rescue is not None and state.rescue.answered_by is None:
        return False
    # For requests of programs, and the parts of LiteLLM's comma-separated form, no end is reported.
    failed = all(attempt.ended for attempt in state.attempts)
    return (one.answered and not state.http) or ((one.answered or failed) and quiet_s > _SILENT_S)


def kind_of(state: RequestState) -> DecisionKind:
    """Return the reason for which a request would be recorded."""
    served = state.answered_by
    answered = served is not None and not served.ended
    if state.routing.refusals and not answered:
        return DecisionKind.REFUSED
    rescuing = state.rescue
    if rescuing is not None and rescuing.attempts:
        return DecisionKind.RESCUE_FAILED if rescuing.answered_by is rescuing.replaced_attempt else DecisionKind.RESCUED
    if len(state.attempts) > 1 and any(attempt.ended for attempt in state.attempts):
        return DecisionKind.FAILED_OVER
    if any(attempt.probe for attempt in state.attempts):
        return DecisionKind.EXPLORATION
    return DecisionKind.SAMPLED


def record_of(state: RequestState, kind: DecisionKind, at: float) -> DecisionRecord:
    """Return the record of a request."""
    decision, policy, slug = state.routing.decision, state.routing.policy, state.slugs.slug
    trace_id, span_id = state.routing.span or ("", "")
    rescuing = state.rescue
    return DecisionRecord(
        id=state.decision_id,
        call_id=state.call_id,
        at=at,
        model_group=state.model_group,
        policy=policy.sort.value if policy is not None else "",
        reason=decision.reason if decision is not None else "",
        kind=kind.value,
        applied=decision.applied if decision is not None else False,
        suffixes=list(slug.suffixes) if slug is not None else [],
        candidates=_candidates(decision, state) if decision is not None else [],
        attempts=[_attempt(attempt, state) for attempt in state.attempts],
        refusals=[_refused_by(refusal) for refusal in state.routing.refusals],
        rescue_cost=rescuing.extra_cost if rescuing is not None else None,
        snapshot=state.routing.snapshot_id,
        trace_id=trace_id,
        span_id=span_id,
    )


def _refused_by(refusal: Refusal) -> str:
    """Return the name of the filter that left no deployment, or the error's type.

    A malformed field is not named, since it may be the client's own.
    """
    return refusal.param if refusal.type == NO_ENDPOINTS and refusal.param else refusal.type


def _candidates(decision: Decision, state: RequestState) -> list[dict[str, Any]]:
    pool, preferred = set(decision.pool), set(decision.preferred)
    return [
        {
            "deployment": ranked.key,
            "provider": state.routing.candidates[ranked.id].provider if ranked.id in state.routing.candidates else "",
            "tier": ranked.tier.value,
            "rank": ranked.rank,
            "in_pool": ranked.id in pool,
            "preferred": ranked.id in preferred,
        }
        for ranked in decision.ranking
    ]


def _attempt(attempt: Attempt, state: RequestState) -> dict[str, Any]:
    if attempt.failure or attempt.ended:
        status = attempt.failure or "failed"
    else:
        status = "answered" if attempt is state.answered_by else "replaced"
    return {
        "deployment": attempt.candidate.key,
        "provider": attempt.candidate.provider,
        "model_group": attempt.model_group,
        "tier": attempt.tier.value if attempt.tier is not None else None,
        "probe": attempt.probe,
        "rescue": attempt.rescue,
        "status": status,
        "verdict": attempt.verdict or None,
        "cost": attempt.cost,
    }
