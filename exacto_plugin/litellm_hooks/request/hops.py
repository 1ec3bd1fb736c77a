"""Position of an attempt in its request: first attempt, retry or hop.

A hop is an attempt at an entry of a fallback list. LiteLLM up to 1.109 passes the fields of that entry, and its depth,
to the filter hook. Since 1.110 the hook gets the client's own request; a hop is then inferred from the attempts made so
far. The call of the deployment has the entry's fields in every version.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY, fallback_entries
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from exacto_plugin.litellm_hooks.request.state import RequestState

_DEPTH: Final = "fallback_depth"
RETRY_POLICY: Final = "model_group_retry_policy"
"""Keyword of LiteLLM's with the retry policy of each model group."""
_NEVER_RETRIED: Final = frozenset({"bad_request"})
"""Failures after which LiteLLM makes no retry, as values of ``error.type``."""


def metadata_of(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return LiteLLM's metadata of a request.

    It is stored under one of two names, depending on the surface.
    """
    for name in ("litellm_metadata", "metadata"):
        found = kwargs.get(name)
        if isinstance(found, dict) and ("model_group" in found or name == "metadata"):
            return found
    return {}


@dataclass(frozen=True, slots=True)
class AttemptPosition:
    """Position of an attempt in its request."""

    is_first: bool
    """True for the first attempt: no retry and no fallback hop."""
    same_group: bool
    """True when the attempt is for the model group that the client requested."""


def position_of(kwargs: Mapping[str, Any]) -> AttemptPosition:
    """Distinguish a first attempt, a retry and a fallback hop."""
    metadata = metadata_of(kwargs)
    depth = bool(kwargs.get("fallback_depth"))
    fresh = not metadata.get("attempted_retries") and not depth
    original = metadata.get("original_model_group")
    return AttemptPosition(fresh, not depth or original is None or original == metadata.get("model_group"))


def _retries(group: str, kwargs: Mapping[str, Any]) -> int | None:
    """Return the retries that LiteLLM makes at a model group; None if unknown.

    By the request's retry policy, else LiteLLM's own number.
    """
    policies = kwargs.get(RETRY_POLICY)
    policy = policies.get(group) if isinstance(policies, dict) else None
    found = policy.get("DefaultRetries") if isinstance(policy, dict) else metadata_of(kwargs).get("max_retries")
    return found if isinstance(found, int) else None


def _of(configured: Iterable[Any], group: str, kwargs: Mapping[str, Any]) -> Iterable[Any]:
    """Yield the configured fallbacks that this request may follow.

    Of the form ``{group: [names]}`` those of other groups than the requested one are left out, if it has any itself.
    """
    lists = list(configured)
    asked = {kwargs.get("model"), metadata_of(kwargs).get("model_group"), "*"} - {group}
    own = [one for one in lists if not isinstance(one, dict) or "model" in one or not asked.isdisjoint(one)]
    return own or lists


class PositionReader:
    """Reader of an attempt's position while LiteLLM selects a deployment.

    Args:
        configured: the operator's own fallback lists, in LiteLLM's forms.
        told: whether the filter hook gets the fields of a hop, so that no inference is needed.
    """

    def __init__(self, configured: Callable[[], Iterable[Any]], *, told: bool) -> None:
        self._configured = configured
        self._told = told

    def read(self, group: str, kwargs: dict[str, Any]) -> tuple[AttemptPosition, dict[str, Any]]:
        """Return the attempt's position, and the request with its entry's fields.

        Args:
            group: the model group of the attempt.
            kwargs: the request as the filter hook has it.
        """
        state = CURRENT.get()
        if self._told or state is None or kwargs.get(_DEPTH):
            return position_of(kwargs), kwargs
        refused = self._note_selection(state, group)
        if not refused and not self._continues(state, group, kwargs):
            return position_of(kwargs), kwargs
        asked_first = state.attempts[0].model_group if state.attempts else state.fallbacks.first
        if group == state.model_group and not self._hops_within(state, group, kwargs, refused=refused):
            return AttemptPosition(False, group == asked_first), {**kwargs, **state.fallbacks.entry}
        return AttemptPosition(False, group == asked_first), {**kwargs, **self._entry(state, group, kwargs)}

    @staticmethod
    def _note_selection(state: RequestState, group: str) -> bool:
        """Return whether the selection before this one was refused."""
        own, refusals = state.fallbacks, len(state.routing.refusals)
        own.first = own.first or group
        refused, own.refusals = refusals > own.refusals, refusals
        return refused and not state.is_rescue_attempt

    def _continues(self, state: RequestState, group: str, kwargs: Mapping[str, Any]) -> bool:
        """Return whether the attempt continues the newest attempt's request."""
        newest = state.served_by
        if newest is None or state.is_rescue_attempt:
            return False
        return newest.ended or (group != state.model_group and any(True for _ in self._entries(group, kwargs)))

    def _entries(self, group: str, kwargs: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """Yield the fallback entries for a model group, the client's own first."""
        own = kwargs.get("fallbacks")
        lists = chain(own if isinstance(own, list) else (), _of(self._configured(), group, kwargs))
        return (entry for entry in fallback_entries(lists) if entry.get("model") == group)

    def _hops_within(self, state: RequestState, group: str, kwargs: Mapping[str, Any], *, refused: bool) -> bool:
        """Return whether an attempt at the same group is for its next entry.

        It is when LiteLLM has no retry left, and is not on its way over ``order`` levels. A refusal is not retried.
        """
        if kwargs.get("_target_order") is not None:
            return False
        if all(entry in state.fallbacks.followed for entry in self._entries(group, kwargs)):
            return False
        newest, retries = state.served_by, _retries(group, kwargs)
        if refused or (newest is not None and newest.failure in _NEVER_RETRIED):
            return True
        return retries is not None and len(state.attempts) - state.series.start > retries

    def _entry(self, state: RequestState, group: str, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the fields of the first entry not followed yet.

        The last entry when all have been followed.
        """
        found = list(self._entries(group, kwargs))
        if not found:
            return {SUFFIXES_KEY: None}
        entry = next((one for one in found if one not in state.fallbacks.followed), found[-1])
        state.fallbacks.followed.append(entry)
        state.fallbacks.entry = {name: value for name, value in entry.items() if name != "model"}
        return state.fallbacks.entry
