"""Metadata of a request in its own answer (``X-Exacto-Metadata: enabled``).

Lists the candidates with their tiers and reasons, and all attempts. Reads the request's state and the snapshot, and
changes neither. Deployments and providers are not named where clients may not see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.core.views import reason_view

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.model import Candidate, Snapshot
    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.request.state import RequestState

HEADER = b"x-exacto-metadata"
KEY = "exacto_metadata"
"""Key of the metadata in an answer and in the last event of a stream."""


def take_header(scope: MutableMapping[str, Any]) -> bool:
    """Remove the metadata header and return whether it enables metadata.

    The header is removed so that LiteLLM cannot forward it upstream.
    """
    asked = [value for name, value in scope["headers"] if name == HEADER]
    if asked:
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != HEADER]
    return bool(asked) and asked[-1].strip().lower() == b"enabled"


def add_metadata(answer: dict[str, Any], state: RequestState, snapshot: Snapshot, *, named: bool) -> bool:
    """Add the metadata to an answer; return False when there are none."""
    if state.routing.policy is None and not state.attempts:
        return False
    answer[KEY] = metadata_of_request(state, snapshot, named=named)
    return True


def metadata_of_request(state: RequestState, snapshot: Snapshot, *, named: bool) -> dict[str, Any]:
    """Return the decision, the newest candidates, and all attempts in order.

    Args:
        state: of the request.
        snapshot: has the reasons of the tiers.
        named: whether clients may see deployments and providers.
    """
    decision = state.routing.decision
    slug = state.slugs.slug
    return {
        "model_group": state.model_group,
        "suffixes": list(slug.suffixes) if slug is not None else [],
        "policy": state.routing.reported_sort.value if state.routing.policy is not None else None,
        "reason": decision.reason if decision is not None else None,
        "applied": decision.applied if decision is not None else False,
        "decision": state.decision_id,
        "snapshot": state.routing.snapshot_id or None,
        "candidates": _candidates(decision, state, snapshot, named=named) if decision is not None else [],
        "attempts": [_attempt(attempt, state, named=named) for attempt in state.attempts],
    }


def _candidates(decision: Decision, state: RequestState, snapshot: Snapshot, *, named: bool) -> list[dict[str, Any]]:
    pool = set(decision.pool)
    told = []
    for ranked in decision.ranking:
        verdict = snapshot.verdict(state.model_group, ranked.key)
        one = {
            "tier": ranked.tier.value,
            "rank": ranked.rank,
            "in_pool": ranked.id in pool,
            "reasons": [reason_view(reason) for reason in verdict.reasons] if verdict is not None else [],
        }
        candidate = state.routing.candidates.get(ranked.id)
        told.append({**_name(candidate), **one} if named and candidate is not None else one)
    return told


def _attempt(attempt: Attempt, state: RequestState, *, named: bool) -> dict[str, Any]:
    # An answer that the rescue replaced was not sent to the client.
    answered = "answered" if attempt is state.answered_by else "replaced"
    one = {
        "model_group": attempt.model_group,
        "tier": attempt.tier.value if attempt.tier is not None else None,
        "probe": attempt.probe,
        "status": attempt.failure or ("failed" if attempt.ended else answered),
    }
    return {**_name(attempt.candidate), **one} if named else one


def _name(candidate: Candidate) -> dict[str, str]:
    return {"deployment": candidate.key, "provider": candidate.provider}
