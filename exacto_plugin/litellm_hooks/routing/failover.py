"""The attempts of one request in a model group, and the errors that continue it.

By default LiteLLM's own number of attempts applies and this module changes nothing. A request without fallbacks
(``provider.allow_fallbacks: false``) ends once every allowed deployment was tried. With ``failover.max_attempts`` the
length of LiteLLM's own retry loop is set here, and it also continues after 402, 404 and errors before the first chunk
of a stream, which LiteLLM by itself never retries at another deployment; never after 400, which is the caller's error.
This module makes no attempts itself.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

import openai
from litellm.exceptions import MidStreamFallbackError

from exacto_plugin.core.routing.filters import reachable
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.litellm_hooks.deployments.router_view import router_view
from exacto_plugin.litellm_hooks.first_chunks import NO_CHUNK, ResumedStream
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError
from exacto_plugin.litellm_hooks.request.hops import metadata_of
from exacto_plugin.litellm_hooks.request.state import CURRENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AsyncExitStack

    from exacto_plugin.core.model import Candidate
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.request.state import RequestState

_CALLER_ERRORS: Final = 400
_PROVIDER_ERRORS: Final = frozenset({402, 404})
"""A provider without credit, or without the model: another one may serve."""


class Failover:
    """The count of attempts and the classification of errors.

    One per process; the data of a request are in the request's state.

    Args:
        context: has the settings in force.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def limit(self) -> int | None:
        """Attempts within a model group; None leaves them to LiteLLM."""
        return self._context.settings.failover.max_attempts

    @staticmethod
    def start_series(state: RequestState, group: str, suffixes: object) -> None:
        """Record the series that an attempt belongs to.

        Another model group, or a fallback entry with suffixes of its own, begins a new series.
        """
        state.series.begin((group, suffixes), len(state.attempts))

    def is_exhausted(self, state: RequestState, candidates: Collection[Candidate]) -> bool:
        """Return whether a series of attempts has no attempt left.

        It has none when the limit is reached, no deployment is left, or the request itself caused the error.
        """
        limit, policy = self.limit, state.routing.policy or Policy()
        if limit is None and policy.allow_fallbacks:
            return False
        asked = state.tried_in_series
        if state.series.ended or (limit is not None and len(state.attempts) - state.series.start >= limit):
            return True
        tried = state.tried
        return all(one.id in tried for one in candidates if reachable(policy, one, asked))

    def with_retry_wait(self, kept: Sequence[Mapping[str, Any]], state: RequestState) -> list[Mapping[str, Any]]:
        """Return the untried of ``kept`` (all, if all were tried) with their retry limit.

        LiteLLM reads ``num_retries`` of the chosen deployment, unless the request has its own. Shallow copies carry it.
        """
        limit = self.limit
        if limit is None:
            return list(kept)
        tried = state.tried
        left = [one for one in kept if one["model_info"]["id"] not in tried] or kept
        return [{**one, "litellm_params": {**one["litellm_params"], "num_retries": limit - 1}} for one in left]

    def failed(self, error: BaseException) -> None:
        """Store the error of an attempt for the end of the series.

        LiteLLM's own series (over ``order`` levels, by weight, under a retry policy) do not call ``should_retry``, and
        continue after a 400 too. They end at the selection of the next attempt.
        """
        state = self._current_series()
        if state is not None and isinstance(error, openai.APIError) and not isinstance(error, ExactoRefusedError):
            series = state.series
            series.last_error = error
            series.ended = series.ended or getattr(error, "status_code", None) == _CALLER_ERRORS

    def should_retry(self, error: Exception) -> bool | None:
        """Return whether LiteLLM shall retry after ``error``; None leaves it to LiteLLM."""
        state = self._current_series()
        if state is None:
            return None
        self.failed(error)
        if self.is_exhausted(state, state.routing.candidates.values()):
            return False
        return True if self.limit is not None and getattr(error, "status_code", None) in _PROVIDER_ERRORS else None

    def _current_series(self) -> RequestState | None:
        """Return the state of a routed request with limited attempts, or None."""
        state = CURRENT.get()
        if state is None or state.routing.policy is None:
            return None
        return state if self.limit is not None or not state.routing.policy.allow_fallbacks else None

    @staticmethod
    def raise_last_error() -> NoReturn:
        """End a series that has no attempt left with the error of its last attempt.

        Raises:
            Exception: that error, which is more specific than "no deployments available".
        """
        state = CURRENT.get()
        if state is None or state.series.last_error is None:
            raise LookupError("no attempt has failed")
        raise state.series.last_error

    async def on_stream(self, stream: Any, slot: AsyncExitStack | None) -> Any:
        """Return ``stream`` with its first chunk read.

        An error before that chunk can still be retried at another deployment.

        Args:
            stream: LiteLLM's stream of an attempt.
            slot: the resources that are held while the stream is open.

        Raises:
            Exception: the provider's error, as LiteLLM translates it.
        """
        if self.limit is None or self._current_series() is None:
            return stream
        broken = True
        try:
            first = await anext(stream, NO_CHUNK)
            broken = False
        except MidStreamFallbackError as error:
            if error.original_exception is None:
                raise
            raise error.original_exception from error
        finally:
            if broken:
                await _closed(stream, slot)
        return ResumedStream(stream, first, stream)


def can_fall_back(router: Any, state: RequestState, kwargs: Mapping[str, Any], candidates: Sequence[Candidate]) -> bool:
    """Return whether LiteLLM may move a stream to another deployment midway.

    That is after its first chunk, and so after the headers.
    """
    view = router_view(router)
    if (
        state.fallbacks.has_own
        or view.setting("enable_weighted_failover")
        or len({candidate.level for candidate in candidates}) > 1
    ):
        return True
    names = {"*", state.model_group, str(metadata_of(kwargs).get("model_group"))}
    names |= {name.split("/", 1)[1] for name in names if "/" in name}  # LiteLLM also tries the bare model name
    return any(not isinstance(entry, dict) or not names.isdisjoint(entry) for entry in view.setting("fallbacks") or ())


async def _closed(stream: Any, slot: AsyncExitStack | None) -> None:
    if slot is not None:
        await slot.aclose()
    with suppress(Exception):  # closing a broken stream may fail too
        await stream.aclose()


def is_last_error(error: Exception) -> bool:
    """Return True for the error of the last attempt, raised when none is left."""
    state = CURRENT.get()
    return state is not None and state.series.last_error is error
