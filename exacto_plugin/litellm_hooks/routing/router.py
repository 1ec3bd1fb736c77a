"""The request side in LiteLLM's router: hard filters first, tiers and sorts last.

LiteLLM calls the plugin twice per attempt. Its public hook ``async_filter_deployments`` runs before pre-call checks and
tags: there the hard filters are applied (a curated list, for instance), so that every later step chooses among the
deployments that they leave. Tiers and sorts are applied after those constraints (see
:mod:`exacto_plugin.litellm_hooks.router_patches`), so that a tier never leads to an empty pool or a refused request.
The operator's own strategy then picks inside the pool.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from exacto_plugin.core.routing.filters import apply_filters, blocking_filters, reachable
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.litellm_hooks.deployments.candidates import CandidateCache, candidate_of, litellm_id
from exacto_plugin.litellm_hooks.deployments.fallbacks import SUFFIXES_KEY
from exacto_plugin.litellm_hooks.deployments.model_names import is_openrouter
from exacto_plugin.litellm_hooks.deployments.parameters import informed, sent_parameters
from exacto_plugin.litellm_hooks.features import Feature
from exacto_plugin.litellm_hooks.refusal import ExactoRefusedError, no_endpoints, refused_by
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.call_details import offers_tools
from exacto_plugin.litellm_hooks.request.conversation_key import share_of
from exacto_plugin.litellm_hooks.request.hops import AttemptPosition, PositionReader, metadata_of, position_of
from exacto_plugin.litellm_hooks.request.key_defaults import KeyDefaults
from exacto_plugin.litellm_hooks.request.operator_limits import own_limits, promises_of_unresolved
from exacto_plugin.litellm_hooks.request.policy import PolicyCache, slug_of, with_filters
from exacto_plugin.litellm_hooks.request.provider_object import extra_provider, provider_in, read_provider
from exacto_plugin.litellm_hooks.request.response_names import fallback_name
from exacto_plugin.litellm_hooks.request.slugs import Slugs
from exacto_plugin.litellm_hooks.request.state import CURRENT, SYNC, RequestState
from exacto_plugin.litellm_hooks.router_core import loops_in_python
from exacto_plugin.litellm_hooks.routing.failover import Failover, can_fall_back
from exacto_plugin.litellm_hooks.routing.final_check import FinalCheck
from exacto_plugin.telemetry.spans import PARENT_SPAN, annotate

if TYPE_CHECKING:
    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import Candidate, Tier
    from exacto_plugin.core.routing.policy import Filter, Slug
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.routing.affinity import ConversationAffinity
    from exacto_plugin.litellm_hooks.runtime.recorder import Recorder

Deployment = Mapping[str, Any]
R = TypeVar("R")


class Routing:
    """The adapter from LiteLLM's router to the engine.

    One per process, without state of its own.

    Args:
        context: of this process.
        engine: decides.
        routers: have the deployments.
        recorder: records decisions.
        affinity: knows the requests' conversations.
    """

    def __init__(
        self, context: Context, engine: Engine, routers: Routers, recorder: Recorder, affinity: ConversationAffinity
    ) -> None:
        self._context = context
        self._engine = engine
        self._routers = routers
        self._recorder = recorder
        self._affinity = affinity
        self._cache, self._policies = CandidateCache(), PolicyCache()
        self._callers = KeyDefaults(context.faults)
        self.failover = Failover(context)
        self.hops = PositionReader(routers.configured_fallbacks, told=loops_in_python())
        self.final_check = FinalCheck(context, routers, recorder, self._callers, self._unfiltered)

    # --- state -----------------------------------------------------------------------------------------------------

    def state_for(self, group: str, hop: AttemptPosition) -> RequestState:
        """Return the state of the current request, created if there is none.

        Requests of programs have no middleware.
        """
        state = CURRENT.get()
        if state is not None and state.slugs.batch is not None:
            # LiteLLM's comma-separated form calls several models in tasks of their own inside one HTTP request.
            slugs = state.slugs.batch.get(group)
            state = RequestState(http=True, slugs=Slugs(slugs.pop(0) if slugs else None))
            CURRENT.set(state)
        elif state is None or (hop.is_first and state.attempts and not state.is_rescue_attempt):
            # SDK tasks make requests one after the other.
            http = state is not None and state.http
            slug = state.slugs.slug if state is not None and http else None
            state = RequestState(http=http, slugs=Slugs(slug))
            CURRENT.set(state)
        return state

    # --- first call: hard filters ----------------------------------------------------------------------------------

    async def filter(
        self, group: str, healthy: list[Deployment], kwargs: dict[str, Any], messages: Sequence[Any] | None = None
    ) -> list[Deployment]:
        """Apply the hard filters to the deployments that LiteLLM found healthy.

        Args:
            group: the model group, aliases resolved.
            healthy: its deployments that are neither cooling down nor out of this caller's reach.
            kwargs: the request as LiteLLM routes it.
            messages: of a chat request; not among ``kwargs`` at this point.

        Raises:
            ExactoRefusedError: a filter left nothing, or the client's preferences are malformed.
        """
        hop, kwargs = self.hops.read(group, kwargs)
        state = self.state_for(group, hop)
        # OpenRouter reads ``provider`` itself, so it is passed on without the plugin's checks.
        state.extra_provider = extra_provider(kwargs)
        openrouter = bool(healthy) and all(is_openrouter(deployment) for deployment in healthy)
        slug = slug_of(group, kwargs, state.slugs.slug, same_group=hop.same_group)
        try:
            state.routing.policy = self.policy(group, slug, kwargs, openrouter=openrouter)
        except ExactoRefusedError:
            # The rest of the request's policy is known, and part of the refusal.
            state.routing.policy = self.policy(group, slug, kwargs, openrouter=True)
            raise
        state.tools, state.model_group = offers_tools(kwargs), group
        self._guard(lambda: self._affinity.identify(state, group, kwargs, metadata_of(kwargs), messages))
        state.affinity.in_share = self._in_share(group, state)
        self.failover.start_series(state, group, kwargs.get(SUFFIXES_KEY))
        await self._affinity.look_up(state)
        await self._affinity.require_available(state, group, healthy)
        if state.routing.policy.preferences:
            self._engine.watch(group, self._context.clock())
        has_filters = state.routing.policy.filters or self._context.settings.model_groups
        kept = await self._apply_filters(state.routing.policy, group, healthy) if has_filters else healthy
        self._note_candidates(state, kept, group)
        return kept if state.routing.policy.allow_fallbacks else self._without_fallbacks(state, kept, hop)

    def policy(self, group: str, slug: Slug, kwargs: Mapping[str, Any], *, openrouter: bool) -> Policy:
        """Return the policy of an attempt.

        It combines the preferences of the client, its key and its team with the settings.

        Args:
            group: the model group.
            slug: the attempt's slug.
            kwargs: the request as LiteLLM routes it.
            openrouter: whether OpenRouter reads the ``provider`` object itself, so that it is not checked here.

        Raises:
            ExactoRefusedError: the ``provider`` object is malformed.
        """
        settings = self._context.settings
        unread = openrouter or settings.client_preferences == "deny"
        preferences = read_provider(None if unread else provider_in(kwargs), group)

        def sent() -> tuple[str, ...]:
            return sent_parameters(kwargs, offers_tools=offers_tools(kwargs))

        policy = self._policies.of(settings, group, slug, preferences, self._callers.of(kwargs), sent)
        whole = not (openrouter or slug.suffixes)  # OpenRouter reads the suffixes itself
        return with_filters(policy, promises_of_unresolved(settings, self._routers, group) if whole else ())

    def _unfiltered(self, group: str, state: RequestState, kwargs: Mapping[str, Any]) -> Policy:
        """Return the policy of an attempt for which LiteLLM did not call ``filter``."""
        slug = slug_of(group, kwargs, state.slugs.slug, same_group=position_of(kwargs).same_group)
        return self.policy(group, slug, kwargs, openrouter=is_openrouter({"litellm_params": kwargs}))

    def _without_fallbacks(self, state: RequestState, kept: list[Deployment], hop: AttemptPosition) -> list[Deployment]:
        """Apply ``allow_fallbacks: false``: the first deployment (or the listed) only.

        Raises:
            ExactoRefusedError: no deployment is left, and no attempt has failed with an error of its own.
        """
        policy, group = state.routing.policy or Policy(), state.model_group
        asked = state.tried_in_series
        # The middleware switches configured fallbacks off; Python callers have no middleware.
        elsewhere = not hop.same_group and not state.http and self._routers.falls_back_to(group)
        left = [] if elsewhere else [one for one in kept if reachable(policy, self._cache.get(one, group), asked)]
        if left:
            return left
        if state.series.last_error is None or not self._context.features.has(Feature.FAILOVER):
            raise ExactoRefusedError(no_endpoints(group, "allow_fallbacks", False, ()), group)
        state.series.ended = True  # ends with the last attempt's own error when the next deployment would be selected
        return kept

    def _note_candidates(self, state: RequestState, deployments: Sequence[Deployment], group: str) -> None:
        """Record the deployments that the router may choose; nothing is decided yet."""
        state.routing.candidates = self._cache.all(deployments, group).by_id
        state.routing.decision, state.routing.snapshot_id = None, ""

    def _candidates(self, entries: Sequence[Deployment], group: str, filters: Sequence[Filter]) -> Sequence[Candidate]:
        """Return the candidates with all fields that the filters read."""
        found = self._cache.all(entries, group)
        if all(one.name != "require_parameters" for one in filters):
            return found
        return [informed(candidate, one["litellm_params"]) for candidate, one in zip(found, entries, strict=True)]

    async def _apply_filters(self, policy: Policy, group: str, healthy: list[Deployment]) -> list[Deployment]:
        """Return the candidates that the hard filters leave."""
        own = [own_limits(self._context.settings, one, group) for one in healthy]
        if not (policy.filters or any(own)) or not (healthy or policy.curated):
            return healthy
        candidates = self._candidates(healthy, group, policy.filters)
        judged = zip(healthy, candidates, own, strict=True)
        left = [one for one, candidate, limits in judged if apply_filters((*policy.filters, *limits), [candidate])]
        if not left:
            raise await self._refuse_empty(tuple(dict.fromkeys(chain(policy.filters, *own))), candidates, group)
        return left

    def _in_share(self, group: str, state: RequestState) -> bool:
        """Return whether tiers apply to this conversation; constant per conversation."""
        share = self._context.settings.apply_share_of(group)
        return share_of(state.affinity.conversation) < share if 0.0 < share < 1.0 else share > 0.0

    def _guard(self, action: Callable[[], R], stage: str = "affinity") -> R | None:
        """Return ``action()``; after a fault None, as without affinity or paces."""
        return self._context.faults.guard(stage, action, None)

    async def _refuse_empty(
        self, filters: Sequence[Filter], healthy: Sequence[Candidate], group: str
    ) -> ExactoRefusedError:
        """Return the error: 404 if no deployment passes, 429 if one is cooling down."""
        candidates = self._candidates(self._routers.deployments_of(group), group, filters)
        left = apply_filters(filters, candidates)
        cooling_s = await self._cooldown_s(left) if left else None
        told = blocking_filters(filters, candidates) or blocking_filters(filters, healthy) or filters[:1]
        return refused_by(told, group, candidates, cooling_s, expose=self._context.settings.expose.providers)

    async def _cooldown_s(self, candidates: Sequence[Candidate]) -> float | None:
        return await self._routers.cooldown_s([one.id for one in candidates], synchronous=SYNC.get())

    # --- second call: tiers and sorts ------------------------------------------------------------------------------

    def select_pool(self, router: Any, deployments: list[Deployment], kwargs: Mapping[str, Any]) -> list[Deployment]:
        """Reduce the deployments that LiteLLM's constraints left to the attempt's pool.

        Returns:
            A sublist of ``deployments`` (the list itself when nothing is to be changed). It is empty only when the
                request has used up its attempts; the error that it then ends with is in the state.
        """
        state = CURRENT.get()
        if state is None or state.routing.policy is None or not deployments:
            return deployments
        started = time.perf_counter()
        group = state.model_group
        candidates, target = self._cache.all(deployments, group), kwargs.get("_target_order")
        eligible: Sequence[Candidate] = candidates if target is None else [c for c in candidates if c.level == target]
        if not eligible:
            return deployments
        if (
            state.series.last_error is not None
            and not state.is_rescue_attempt
            and self.failover.is_exhausted(state, eligible)
        ):
            return []
        ask = self._routing_request(group, eligible, state, kwargs)
        decision = self._engine.decide(ask, random.random)
        snapshot = self._engine.snapshot
        self._guard(lambda: self._affinity.note_decision(state, ask, decision, snapshot))
        state.routing.decision, state.routing.snapshot_id = decision, snapshot.id
        state.routing.candidates = candidates.by_id
        state.routing.may_move = bool(kwargs.get("stream")) and can_fall_back(router, state, kwargs, candidates)
        self._context.telemetry.decision(group, decision, time.perf_counter() - started)
        self._note_decision(state, ask, decision, kwargs)
        kept = deployments
        if decision.applied and 0 < len(decision.pool) < len(candidates):
            pool = set(decision.pool)
            kept = [d for d, candidate in zip(deployments, candidates, strict=True) if candidate.id in pool]
        if state.is_rescue_attempt:  # a deployment that the operator's strategy would pick again is no rescue
            tried = state.tried
            kept = [d for d in kept if d["model_info"]["id"] not in tried] or kept
        return kept if self.failover.limit is None else self.failover.with_retry_wait(kept, state)

    def _note_decision(
        self, state: RequestState, ask: RoutingRequest, decision: Decision, kwargs: Mapping[str, Any]
    ) -> None:
        """Put a decision on the request's span and on record."""
        guard, snapshot = self._context.faults.guard, state.routing.snapshot_id
        span = metadata_of(kwargs).get(PARENT_SPAN)
        guard("telemetry", lambda: annotate(span, ask.model_group, decision, snapshot), None)
        guard("record", lambda: self._recorder.record_decision(state, ask, decision), None)

    def _routing_request(
        self, group: str, candidates: Sequence[Candidate], state: RequestState, kwargs: Mapping[str, Any]
    ) -> RoutingRequest:
        mode, policy = self._context.settings.mode_of(group), state.routing.policy or Policy()
        home = self._guard(lambda: self._affinity.locate(state, kwargs))
        again, share = state.is_rescue_attempt, state.affinity.in_share
        busy = self._guard(lambda: self._engine.busy(group, self._context.clock()), "pacing") or ()
        return RoutingRequest(group, candidates, policy, state.tools, mode, share, state.tried, again, home, busy)

    # --- the selected deployment -----------------------------------------------------------------------------------

    def record_attempt(self, kwargs: Mapping[str, Any]) -> RequestState:
        """Record the deployment that LiteLLM is about to call.

        Called once per attempt, twice where LiteLLM serves one surface through another.
        """
        state = CURRENT.get()
        if state is None:
            state = RequestState()
            CURRENT.set(state)
        metadata = metadata_of(kwargs)
        info = kwargs.get("model_info")
        info = info if isinstance(info, dict) else metadata.get("model_info") or {}
        called_id = litellm_id({"model_info": info})
        last = state.served_by
        once_more = state.is_rescue_attempt and last is not None and not last.rescue
        if last is not None and last.candidate.id == called_id and not last.ended and not once_more:
            return state
        self.final_check.keep(state, kwargs, metadata)
        known = state.routing.candidates.get(called_id)
        routed = known is not None
        # A deployment named by its id belongs to its own model group, whatever name the caller used.
        own = info.get("team_public_model_name") or metadata.get("deployment_model_name")
        group = state.model_group if routed else str(own or "")
        group = group or state.model_group or str(metadata.get("model_group") or "")
        if known is None:
            known = candidate_of({"litellm_params": dict(kwargs), "model_info": info}, state.model_group)
        decision = state.routing.decision if routed else None
        tier = _tier_in(decision, called_id)
        probe = bool(decision and decision.explored)
        attempt = Attempt(known, group, tier, routed=routed, probe=probe, rescue=state.is_rescue_attempt)
        attempt.metadata = metadata
        if kwargs.get("fallback_depth"):
            asked, same = str(metadata.get("model_group")), position_of(kwargs).same_group
            attempt.response_name = fallback_name(state, asked, kwargs.get(SUFFIXES_KEY), same_group=same)
        state.attempts.append(attempt)
        self._guard(lambda: self._engine.note_attempt(group, attempt.candidate.key, self._context.clock()), "pacing")
        if not attempt.rescue:  # a single bad call moves no conversation
            self._guard(lambda: self._affinity.note_attempt(state, attempt))
        state.tools = state.tools or offers_tools(kwargs)
        return state


def _tier_in(decision: Decision | None, called_id: str) -> Tier | None:
    if decision is None:
        return None
    return next((ranked.tier for ranked in decision.ranking if ranked.id == called_id), None)
