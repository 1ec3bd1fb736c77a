"""Where an attempt stands inside its request: first attempt, retry, or a hop to an entry of a fallback list.

LiteLLM up to 1.109 gives the filter hook the fields of the fallback entry that a hop asks, and its depth. Since 1.110
the hook gets the client's own request; there a hop is told by what this request was sent to before. The call of the
deployment has the entry's fields on every version.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from exacto_plugin.litellm_hooks.request.body import SUFFIXES_KEY, fallback_entries
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from exacto_plugin.litellm_hooks.request.state import RequestState

_DEPTH: Final = "fallback_depth"


def metadata_of(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """LiteLLM keeps per-request metadata under one of two names, by surface."""
    for name in ("litellm_metadata", "metadata"):
        found = kwargs.get(name)
        if isinstance(found, dict) and ("model_group" in found or name == "metadata"):
            return found
    return {}


@dataclass(frozen=True, slots=True)
class AttemptPosition:
    """Where this attempt stands inside its request."""

    is_first: bool
    """First attempt of a request: no retry and no fallback hop."""
    same_group: bool
    """The attempt asks the model group that the client asked for."""


def position_of(kwargs: Mapping[str, Any]) -> AttemptPosition:
    """Tell a first attempt from a retry and from a fallback hop."""
    metadata = metadata_of(kwargs)
    depth = bool(kwargs.get("fallback_depth"))
    fresh = not metadata.get("attempted_retries") and not depth
    original = metadata.get("original_model_group")
    return AttemptPosition(fresh, not depth or original is None or original == metadata.get("model_group"))


class PositionReader:
    """Reads an attempt's place where LiteLLM picks a deployment for it.

    Args:
        configured: the operator's own fallback lists, in LiteLLM's forms.
        told: whether the filter hook gets the fields of a hop, so that nothing has to be inferred.
    """

    def __init__(self, configured: Callable[[], Iterable[Any]], *, told: bool) -> None:
        self._configured = configured
        self._told = told

    def read(self, group: str, kwargs: dict[str, Any]) -> tuple[AttemptPosition, dict[str, Any]]:
        """The attempt's place, and the request with the fields of the fallback entry that it asks.

        Args:
            group: the model group that is asked now.
            kwargs: the request as the filter hook has it.
        """
        state = CURRENT.get()
        if self._told or state is None or kwargs.get(_DEPTH) or not self._continues(state, group, kwargs):
            return position_of(kwargs), kwargs
        asked_first = state.attempts[0].model_group
        if group == state.model_group:
            return AttemptPosition(False, group == asked_first), {**kwargs, **state.entry}
        return AttemptPosition(False, group == asked_first), {**kwargs, **self._entry(state, group, kwargs)}

    def _continues(self, state: RequestState, group: str, kwargs: Mapping[str, Any]) -> bool:
        """Whether the attempt belongs to the request that the newest attempt was made for."""
        newest = state.served_by
        if newest is None or state.is_rescue_attempt:
            return False
        return newest.ended or (group != state.model_group and any(True for _ in self._entries(group, kwargs)))

    def _entries(self, group: str, kwargs: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """The fields of the entries that lead to a model group, the client's own first."""
        own = kwargs.get("fallbacks")
        lists = chain(own if isinstance(own, list) else (), self._configured())
        return (entry for entry in fallback_entries(lists) if entry.get("model") == group)

    def _entry(self, state: RequestState, group: str, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of the first entry that this request has not followed yet; the last one when all are used up."""
        found = list(self._entries(group, kwargs))
        if not found:
            return {SUFFIXES_KEY: None}
        entry = next((one for one in found if one not in state.followed_entries), found[-1])
        state.followed_entries.append(entry)
        state.entry = {name: value for name, value in entry.items() if name != "model"}
        return state.entry
