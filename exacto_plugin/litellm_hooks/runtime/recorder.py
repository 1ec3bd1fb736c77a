"""The recorder of requests, recomputes and rescues. Never waits or raises.

The hooks call it at each event; the store keeps the records and may be missing, full or broken. Decides nothing about
tiers or requests.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from exacto_plugin.at_exit import at_exit
from exacto_plugin.core.model import Signal, Sort, Tier
from exacto_plugin.core.routing.counterfactual import HOUR_S, WHOLE_GROUP, CounterfactualCounts
from exacto_plugin.core.tiers.change_point import change_point
from exacto_plugin.core.tiers.checkpoints import CHECKPOINT_S, ChangeDetector, RecordCause
from exacto_plugin.core.tiers.replay import encode, preset_as_plain
from exacto_plugin.core.views import reason_view
from exacto_plugin.core.wire import to_wire
from exacto_plugin.litellm_hooks.runtime.decision_log import DecisionLog
from exacto_plugin.litellm_hooks.runtime.failure_log import FailureLog
from exacto_plugin.records import (
    ENGINE_VERSION,
    DeploymentRecord,
    HourRecord,
    InputsRecord,
    ReferenceRecord,
    RuleRecord,
    TransitionRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from exacto_plugin.core.decision import Decision
    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import DeploymentKey, GroupSnapshot, Reference, Snapshot, Transition, Verdict
    from exacto_plugin.core.routing.ordering import RoutingRequest
    from exacto_plugin.core.tiers.change_point import CallHistory, ChangePoint
    from exacto_plugin.core.tiers.checkpoints import GroupChange
    from exacto_plugin.core.tiers.columns import Preset
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.request.state import RequestState
    from exacto_plugin.litellm_hooks.runtime.providers import Providers
    from exacto_plugin.records import Record

_PAUSE_S = 0.002
"""Seconds of pause after each written model group, for requests to run."""

_GROUPS_PER_SLICE = 20
"""Model groups between two pauses when only references are compared."""

_BY_TIERS = (Sort.AUTO, Sort.EXACTO)
_UNORDERED = ("no_tools", "mode_off", "no_sort", "preferred")


def digest(preset: Mapping[str, Any]) -> str:
    """Return a short name of the rule in force with all its numbers."""
    return hashlib.blake2b(json.dumps(preset, sort_keys=True).encode(), digest_size=8).hexdigest()


class Recorder:
    """The writer of one process's records.

    Args:
        context: of this process.
        providers: of deployments, for the records.
        worker: a name of this process in the records.
    """

    def __init__(self, context: Context, providers: Providers, worker: str) -> None:
        self._context = context
        self._providers = providers
        self._keep: Callable[[Record], None] | None = None
        self.worker = worker
        """A name of this process in the records."""
        self.picks = CounterfactualCounts()
        self.failures = FailureLog()
        self.decisions = DecisionLog(lambda: context.settings.store.decision_share, self._write)
        self._references: dict[tuple[str, Signal], Reference] = {}
        self._rule: tuple[str, int] | None = None
        """The rule that was written last, and the hour."""
        self._written_references: asyncio.Task[None] | None = None

    def begin(self, keep: Callable[[Record], None]) -> None:
        """Record everything from now on.

        Args:
            keep: stores a record; thread-safe, returns at once and never fails.
        """
        self._keep = keep
        at_exit(self.close)

    def watch_engine(self, engine: Engine) -> None:
        """Attach a change detector to an engine before its recompute."""
        if self._on and engine.change_detector is None:
            engine.change_detector = ChangeDetector()

    def _write(self, record: Record) -> None:
        if self._keep is not None:
            self._keep(record)

    @property
    def _on(self) -> bool:
        return self._keep is not None

    # --- requests ----------------------------------------------------------------------------------------------------

    def record_decision(self, state: RequestState, ask: RoutingRequest, decision: Decision) -> None:
        """Record the decision about an attempt."""
        if not self._on:
            return
        now = self._context.clock()
        if state.routing.span is None:
            state.routing.span = _current_span()
        self.decisions.note(state, now)
        if state.attempts or decision.policy not in _BY_TIERS or decision.reason in _UNORDERED or not ask.tools:
            return
        home = ask.home
        if home is not None and (decision.preferred or decision.pool) == (home.id,):
            self.picks.add_stay(now, ask.model_group)
            return
        key_of = {candidate.id: candidate.key for candidate in ask.candidates}
        everyone = tuple(key_of.values())
        left = decision.preferred or decision.pool
        preferred = everyone if len(left) == len(everyone) else tuple([key_of[one] for one in left])
        probed = key_of[decision.pool[0]] if decision.explored else WHOLE_GROUP
        self.picks.add_pick(now, ask.model_group, everyone, preferred, probed, applied=decision.applied)

    def record_refusal(self, state: RequestState) -> None:
        """Record the refusal of a request or of one of its fallbacks."""
        if self._on:
            if state.routing.span is None:
                state.routing.span = _current_span()
            self.decisions.note(state, self._context.clock())

    def record_answer(
        self,
        state: RequestState | None,
        attempt: Attempt,
        *,
        tools: bool,
        bad: bool,
        locate: Callable[[], str] = lambda: "",
    ) -> None:
        """Record a scored answer; its outcome and cost are in the attempt.

        Args:
            state: of its request; None for a call outside of one.
            attempt: that it came from.
            tools: True if the request offered tools.
            bad: True for a bad or lost call.
            locate: returns the place of a mismatch in its schema; called for some of the bad answers.
        """
        now, group, key = self._context.clock(), attempt.model_group, attempt.candidate.key
        if tools and bad:
            request = state.decision_id if state is not None else ""
            self.failures.note(now, group, key, attempt.verdict, request, locate)
        if not self._on:
            return
        if tools:
            tier = "" if attempt.tier is None else attempt.tier.value
            self.picks.add_answer(now, group, key, bad=bad, cost=attempt.cost, outcome=attempt.verdict, tier=tier)
        if state is not None and state.routing.policy is not None:
            self.decisions.note(state, now, answered=True)

    def record_rescue(self, state: RequestState, cost: float | None) -> None:
        """Record that other deployments were called after a bad answer."""
        rescuing = state.rescue
        if self._on and rescuing is not None and rescuing.attempts:
            replaced = rescuing.replaced_attempt
            rescued, key = rescuing.answered_by is not replaced, replaced.candidate.key
            self.picks.add_rescue(self._context.clock(), state.model_group, key, rescued=rescued, cost=cost)

    def record_end(self, state: RequestState) -> None:
        """Record the end of a request: the client has its answer, or is gone."""
        if self._on and (state.routing.decision is not None or state.routing.refusals):
            self.decisions.note(state, self._context.clock(), ended=True)

    # --- recomputes --------------------------------------------------------------------------------------------------

    def record_recompute(self, engine: Engine) -> None:
        """Record a recompute of this process that is in force, in a thread.

        One recompute is written after the other.
        """
        if not self._on or engine.change_detector is None:
            return
        snapshot, transitions, preset = engine.measured, engine.transitions, engine.rule
        histories = engine.call_histories
        accounts = engine.change_detector.changes
        providers = self._providers.by_deployment
        before = self._written_references

        async def tell() -> None:
            if before is not None:
                await asyncio.wait({before})
            records = self.records(snapshot, transitions, accounts, preset, providers, histories)
            await asyncio.to_thread(self._write_in_slices, records)

        self._written_references = asyncio.get_running_loop().create_task(tell(), name="exacto-record")

    def _write_in_slices(self, records: Iterator[Record | None]) -> None:
        self._context.faults.guard("record", lambda: self._write_all(records), None)

    def _write_all(self, records: Iterator[Record | None]) -> None:
        for record in records:
            if record is None:
                time.sleep(_PAUSE_S)
            else:
                self._write(record)

    def records(
        self,
        snapshot: Snapshot,
        transitions: Sequence[Transition],
        accounts: Sequence[GroupChange],
        preset: Preset,
        providers: Mapping[str, str],
        histories: Mapping[tuple[str, DeploymentKey], CallHistory],
    ) -> Iterator[Record | None]:
        """Yield all records of one recompute; None at a pause."""
        rule = preset_as_plain(preset)
        name = digest(rule)
        hour = int(snapshot.at // CHECKPOINT_S)
        # Every hour, so that its row outlives its references, and with all inputs: the file may be a new one by now.
        if accounts or (name, hour) != self._rule:
            self._rule = (name, hour)
            yield RuleRecord(digest=name, at=snapshot.at, rule=rule, engine_version=ENGINE_VERSION)
        for change in transitions:
            yield _transition(change, snapshot, histories.get((change.model_group, change.deployment)))
        accounted = {account.model_group: account for account in accounts}
        for number, group in enumerate(snapshot.groups.values()):
            if number % _GROUPS_PER_SLICE == 0:
                yield None
            account = accounted.get(group.model_group)
            yield from self._new_references(snapshot.id, group, name, whole=account is not None)
            if account is not None:
                kind = account.cause.value
                data = encode(account.inputs())
                yield InputsRecord(snapshot.id, snapshot.at, group.model_group, kind, name, ENGINE_VERSION, data)
                for deployment in account.deployments:
                    verdict = group.verdicts[deployment]
                    provider = providers.get(deployment, "")
                    yield _deployment(snapshot, group.model_group, verdict, provider, account.cause)
                yield None
        kept = {(group, signal) for group in snapshot.groups for signal in snapshot.groups[group].references}
        self._references = {key: one for key, one in self._references.items() if key in kept}

    def _new_references(
        self, snapshot: str, group: GroupSnapshot, rule: str, *, whole: bool
    ) -> Iterator[ReferenceRecord]:
        """Return the references that changed since they were last written.

        A missing reference has not changed.
        """
        for signal, reference in group.references.items():
            key = (group.model_group, signal)
            if whole or self._references.get(key) != reference:
                self._references[key] = reference
                yield ReferenceRecord(
                    snapshot=snapshot,
                    at=group.at,
                    model_group=group.model_group,
                    signal=signal.value,
                    median=reference.median,
                    mad=reference.mad,
                    threshold=reference.threshold,
                    peers=reference.peers,
                    settings_digest=rule,
                    engine_version=ENGINE_VERSION,
                )

    # --- periodic ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Flush everything, unfinished requests included: no later flush follows."""
        self._context.faults.guard("record", lambda: self.flush(math.inf), None)

    async def flush_due(self) -> None:
        """Flush pending data; a periodic job."""
        self._context.faults.guard("record", self.flush, None)

    def flush(self, later_s: float = 0.0) -> None:
        """Flush the requests that are over, or will be in ``later_s``, and the counts."""
        if not self._on:
            return
        now = self._context.clock()
        self.decisions.flush(now + later_s)
        for row in self.picks.take(now):
            self._write(HourRecord(row.hour, row.model_group, row.deployment, self.worker, to_wire(row.numbers)))


def _current_span() -> tuple[str, str]:
    """Return trace and span id as they are written; empty without a span."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return "", ""
    return trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)


def _transition(change: Transition, snapshot: Snapshot, history: CallHistory | None) -> TransitionRecord:
    reference = snapshot.groups[change.model_group].references.get(Signal.TOOL_CALL_SUCCESS)
    median = None if reference is None else reference.median
    found = _change_point(change, history, None if median is None else 1.0 - median)
    return TransitionRecord(
        at=change.at,
        model_group=change.model_group,
        deployment=change.deployment,
        previous=change.previous.value,
        tier=change.tier.value,
        reasons=[reason_view(reason) for reason in change.reasons],
        snapshot=snapshot.id,
        changed=None if found is None else to_wire(found),
    )


def _change_point(change: Transition, history: CallHistory | None, usual: float | None) -> ChangePoint | None:
    """Return when the deployment's calls changed; None where they do not tell."""
    if history is None:
        return None
    worse = change.tier == Tier.DERANKED
    # A trial's good calls are compared with those of the time around the derank.
    since = change.previous_since if worse else change.previous_since - HOUR_S
    return change_point(history, since, usual, worse=worse)


def _deployment(
    snapshot: Snapshot, model_group: str, verdict: Verdict, provider: str, occasion: RecordCause
) -> DeploymentRecord:
    return DeploymentRecord(
        snapshot=snapshot.id,
        at=snapshot.at,
        model_group=model_group,
        deployment=verdict.deployment,
        provider=provider,
        tier=verdict.tier.value,
        since=verdict.since,
        reasons=[reason_view(reason) for reason in verdict.reasons],
        signals={signal.value: [value.value, value.samples] for signal, value in verdict.signals.items()},
        kind=occasion.value,
    )
