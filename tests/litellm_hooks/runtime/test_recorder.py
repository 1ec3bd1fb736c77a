"""What a process puts on record: recomputes that can be verified, the requests that matter, exact counts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from exacto_plugin.audit.verify import Recompute, Verifier
from exacto_plugin.config.settings import Settings
from exacto_plugin.core.decision import Decision, Ranked
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Sample, Sort, Tier
from exacto_plugin.core.routing.counterfactual import WHOLE_GROUP, PickNumbers
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.core.tiers.checkpoints import CHECKPOINT_S
from exacto_plugin.litellm_hooks.refusal import Refusal
from exacto_plugin.litellm_hooks.request.attempts import Attempt, RescueProgress
from exacto_plugin.litellm_hooks.request.routing_state import RoutingState
from exacto_plugin.litellm_hooks.request.state import RequestState
from exacto_plugin.litellm_hooks.runtime.decision_log import DecisionKind, DecisionLog
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.records import (
    DecisionRecord,
    DeploymentRecord,
    HourRecord,
    InputsRecord,
    ReferenceRecord,
    RuleRecord,
    TransitionRecord,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exacto_plugin.records import Record

START = 1_800_000_000.0
NAMES = ("a", "b", "c", "d")


class Kept(list["Record"]):
    """A store that keeps records in memory."""

    def of(self, kind: type[Any]) -> list[Any]:
        """All records of a kind."""
        return [record for record in self if isinstance(record, kind)]

    def recomputes(self) -> list[Recompute]:
        """What is on record of every model group and recompute that has inputs."""
        found: dict[tuple[str, str], dict[type[Any], list[Any]]] = defaultdict(lambda: defaultdict(list))
        for record in self:
            if isinstance(record, InputsRecord | DeploymentRecord | ReferenceRecord | TransitionRecord):
                found[record.snapshot, record.model_group][type(record)].append(record)
        return [
            Recompute(parts[InputsRecord][0], parts[DeploymentRecord], parts[ReferenceRecord], parts[TransitionRecord])
            for parts in found.values()
            if parts[InputsRecord]
        ]

    def verified(self) -> Verifier:
        """All of it, compared with what follows."""
        verifier = Verifier({record.digest: record for record in self.of(RuleRecord)})
        for recompute in self.recomputes():
            verifier.verify(recompute)
        return verifier


class World:
    """A runtime without routers whose clock and traffic are the test's."""

    def __init__(self, block: Mapping[str, Any] | None = None) -> None:
        self.now = START
        self.runtime = Runtime(Settings.model_validate(block or {}), clock=lambda: self.now)
        self.kept = Kept()
        self.runtime.recorder.begin(self.kept.append)

    def answers(self, name: str, calls: int, bad: int) -> None:
        """Calls of one deployment of model group ``g``."""
        for number in range(calls):
            outcome = Outcome.SCHEMA_MISMATCH if number < bad else Outcome.VALID
            sample = Sample(
                "g",
                DeploymentKey(name),
                self.now - number % 200,
                tools_offered=True,
                outcome=outcome,
                caller=str(number),
            )
            self.runtime.samples.record_direct_call(sample)
            self.runtime.samples.record(sample, Candidate(LiteLLMId(name), DeploymentKey(name), f"provider-{name}"))

    async def recompute(self) -> None:
        """One recompute, five minutes later, and all of it written."""
        self.now += 300.0
        await self.runtime.recomputer.recompute()
        told = self.runtime.recorder._written_references
        assert told is not None
        await told


@pytest.mark.parametrize("preset", ["adaptive", "openrouter"])
async def test_what_is_on_record_can_be_verified(preset: str) -> None:
    """A deployment breaks: its transition, its reasons and everybody's references follow from what was kept."""
    world = World({"tiers": {"preset": preset, "openrouter": {"tool_call_requests": 50}}})
    for step in range(16):
        for name in NAMES:
            world.answers(name, 40, 15 if name == "d" and step > 5 else 0)
        await world.recompute()
    kept = world.kept
    assert [(one.deployment, one.tier) for one in kept.of(TransitionRecord)][-1] == ("d", "deranked")
    found = kept.verified().result
    assert found.differences == []
    assert found.transitions == len(kept.of(TransitionRecord))
    assert found.deployments == len(kept.of(DeploymentRecord)) > 12
    assert found.references > 4
    assert {record.provider for record in kept.of(DeploymentRecord)} == {f"provider-{name}" for name in NAMES}
    assert {record.kind for record in kept.of(InputsRecord)} == {"change", "checkpoint"}
    hours = {record.at for record in kept.of(InputsRecord) if record.kind == "checkpoint"}
    assert len(hours) >= 2


async def test_a_record_that_was_tampered_with_is_found() -> None:
    """One digit of one reason, a tier, a median or a byte of the inputs: each is a difference."""
    world = World()
    for _ in range(3):
        for name in NAMES:
            world.answers(name, 60, 0)
        await world.recompute()
    assert world.kept.verified().result.differences == []

    def changed(kind: type[Any], **fields: Any) -> list[str]:
        records = Kept(world.kept)
        place = max(place for place, record in enumerate(records) if isinstance(record, kind))
        records[place] = replace(records[place], **fields)
        return [difference.what.split()[0] for difference in records.verified().result.differences]

    assert changed(DeploymentRecord, tier="deranked") == ["deployment"]
    assert changed(TransitionRecord, reasons=[]) == ["transition"]
    assert changed(ReferenceRecord, peers=99) == ["reference"]
    assert changed(InputsRecord, inputs=b"\x01nothing") == ["inputs"]
    without = Kept(record for record in world.kept if not isinstance(record, RuleRecord))
    assert next(one.what.split()[0] for one in without.verified().result.differences) == "inputs"
    assert changed(InputsRecord, inputs=b"\x02of tomorrow", engine_version="of tomorrow") == []


async def test_a_new_file_can_be_verified_at_once() -> None:
    """Whoever moves a damaged file away gets one in which all that is needed stands beside the first inputs."""
    world = World()
    for _ in range(3):
        world.answers("a", 60, 0)
        await world.recompute()
    world.kept.clear()
    for name in NAMES:
        world.answers(name, 60, 60 if name == "d" else 0)
    await world.recompute()
    assert world.kept.of(InputsRecord)
    assert world.kept.verified().result.differences == []


async def test_references_are_written_when_they_change() -> None:
    """Quiet model groups do not fill the disk: nothing new is written for equal references between checkpoints."""
    world = World()
    world.answers("a", 5, 0)
    for _ in range(6):
        await world.recompute()
    checkpoints = len({record.snapshot for record in world.kept.of(InputsRecord)})
    signals = {record.signal for record in world.kept.of(ReferenceRecord)}
    assert len(world.kept.of(ReferenceRecord)) <= checkpoints * len(signals)


async def test_without_a_store_nothing_is_followed() -> None:
    """No record, no memory of requests, no ledger."""
    runtime = Runtime(Settings())
    state, ask, decision = asked("a")
    runtime.recorder.record_decision(state, ask, decision)
    runtime.recorder.record_end(state)
    await runtime.recomputer.recompute()
    runtime.recorder.flush()
    assert not runtime.recorder.decisions._pending
    assert runtime.recorder._written_references is None
    assert runtime.engine.change_detector is None


# --- requests ---------------------------------------------------------------------------------------------------------


def asked(*pool: str, explored: bool = False, **more: Any) -> tuple[RequestState, RoutingRequest, Decision]:
    """A request with tools for ``g`` that tiers send to ``pool``."""
    candidates = [Candidate(LiteLLMId(name), DeploymentKey(name), f"provider-{name}") for name in NAMES]
    ranking = tuple(
        Ranked(LiteLLMId(name), DeploymentKey(name), int(name not in pool), Tier.VERIFIED_GOOD) for name in NAMES
    )
    preferred = ("a",) if explored else pool
    decision = Decision(
        Sort.AUTO,
        ranking,
        tuple(map(LiteLLMId, pool)),
        applied=True,
        reason="tiers",
        preferred=tuple(map(LiteLLMId, preferred)),
        explored=explored,
    )
    state = RequestState(model_group="g", routing=RoutingState(Policy(), decision), tools=True, **more)
    state.routing.candidates = {candidate.id: candidate for candidate in candidates}
    return state, RoutingRequest("g", candidates, Policy(), tools=True), decision


def attempt(name: str, **more: Any) -> Attempt:
    """One attempt of a request."""
    return Attempt(Candidate(LiteLLMId(name), DeploymentKey(name), f"provider-{name}"), "g", Tier.VERIFIED_GOOD, **more)


def kinds(states: Sequence[RequestState], share: float = 0.0) -> list[DecisionRecord]:
    """What is written of requests that ended."""
    written: list[DecisionRecord] = []
    log = DecisionLog(lambda: share, written.append, draw=lambda: 0.5)
    for state in states:
        log.note(state, START)
        log.note(state, START, ended=True)
    log.flush(START + 1.0)
    assert written == [], "verdicts come after the last byte"
    log.flush(START + 3.0)
    assert not log._pending
    return written


def test_what_went_out_of_the_ordinary_is_always_kept() -> None:
    """Refused, rescued, not rescued, failed over and probed requests are; others only when chance takes them."""
    refused, _, _ = asked("a")
    refused.routing.refusals.append(Refusal(404, "exacto_no_endpoints", "", param="curated"))
    rescued, _, _ = asked("a")
    rescued.attempts = [attempt("a", verdict="invalid_json", cost=0.5), attempt("b", rescue=True, verdict="valid")]
    rescued.rescue = RescueProgress(rescued.attempts[0], attempts=1, answered_by=rescued.attempts[1], extra_cost=0.5)
    in_vain, _, _ = asked("a")
    in_vain.attempts = [attempt("a"), attempt("b", rescue=True, ended=True, failure="500")]
    in_vain.rescue = RescueProgress(in_vain.attempts[0], attempts=1, answered_by=in_vain.attempts[0])
    over, _, _ = asked("a")
    over.attempts = [attempt("a", ended=True, failure="500"), attempt("b")]
    probe, _, _ = asked("d", explored=True)
    probe.attempts = [attempt("d", probe=True)]
    plain, _, _ = asked("a")
    plain.attempts = [attempt("a")]
    states = [refused, rescued, in_vain, over, probe, plain]
    written = kinds(states)
    assert [DecisionKind(record.kind) for record in written] == list(DecisionKind)[:5]
    assert written[0].refusals == ["curated"]
    malformed, _, _ = asked("a")
    malformed.routing.refusals.append(Refusal(400, "invalid_request_error", "", param="provider.what the client wrote"))
    assert kinds([malformed])[0].refusals == ["invalid_request_error"]
    assert [(one["deployment"], one["status"]) for one in written[1].attempts] == [("a", "replaced"), ("b", "answered")]
    assert written[1].rescue_cost == 0.5
    assert [one["status"] for one in written[3].attempts] == ["500", "answered"]
    assert [record.kind for record in kinds(states, share=0.6)][-1] == DecisionKind.SAMPLED


def test_a_part_of_a_request_is_over_when_nothing_follows() -> None:
    """LiteLLM's comma-separated form asks several models inside one HTTP request, whose end is told once."""
    written: list[DecisionRecord] = []
    log = DecisionLog(lambda: 1.0, written.append)
    part = asked("a")[0]
    part.http, part.attempts = True, [attempt("a")]
    log.note(part, START, answered=True)
    log.flush(START + 10)
    assert written == []
    log.flush(START + 100)
    assert [record.id for record in written] == [part.decision_id]


def test_candidates_and_the_pool_are_kept() -> None:
    """Of each candidate: provider, tier, rank and whether it was in the pool."""
    state, _, _ = asked("a", "b", call_id="litellm-1")
    state.routing.span = ("t" * 32, "s" * 16)
    state.attempts = [attempt("b")]
    (record,) = kinds([state], share=1.0)
    assert [(one["deployment"], one["in_pool"]) for one in record.candidates] == [
        ("a", True), ("b", True), ("c", False), ("d", False),
    ]  # fmt: skip
    assert record.candidates[0]["provider"] == "provider-a"
    assert (record.call_id, record.trace_id, record.span_id) == ("litellm-1", "t" * 32, "s" * 16)


def test_a_request_of_a_program_is_over_when_it_was_answered() -> None:
    """Nobody tells when it ends: an answer does, or a failure that nothing follows."""
    written: list[DecisionRecord] = []
    log = DecisionLog(lambda: 1.0, written.append)
    answered, failed = asked("a")[0], asked("a")[0]
    answered.attempts, failed.attempts = [attempt("a")], [attempt("a", ended=True, failure="500")]
    log.note(answered, START)
    log.note(failed, START)
    log.flush(START + 10)
    assert written == []
    log.note(answered, START + 10, answered=True)
    log.flush(START + 13)
    assert [record.id for record in written] == [answered.decision_id]
    log.flush(START + 100)
    assert [record.id for record in written] == [answered.decision_id, failed.decision_id]


async def test_picks_are_counted_by_what_tiers_change() -> None:
    """Of four candidates tiers leave two: half of the picks change. Probes and answers are counted beside."""
    world = World()
    recorder = world.runtime.recorder
    for _ in range(10):
        recorder.record_decision(*asked("a", "b"))
    recorder.record_decision(*asked("d", explored=True))
    state, _, _ = asked("a")
    recorder.record_answer(state, attempt("a", cost=0.25), tools=True, bad=True)
    recorder.record_answer(state, attempt("a"), tools=False, bad=False)
    recorder.flush()
    rows = {record.deployment: PickNumbers(**record.numbers) for record in world.kept.of(HourRecord)}
    assert rows[WHOLE_GROUP].picks == 11
    assert rows[WHOLE_GROUP].changed == pytest.approx(5 + 0.75)
    assert (rows["d"].probes, rows["a"].instead) == (1, 1)
    assert (rows["a"].answers, rows["a"].bad, rows["a"].cost) == (1, 1, 0.25)


async def test_the_end_of_a_process_loses_nothing() -> None:
    """Requests that have just ended, and the counts of the last seconds, are handed over."""
    world = World({"store": {"decision_share": 1.0}})
    recorder = world.runtime.recorder
    recorder.record_decision(*asked("a"))
    recorder.close()
    assert len(world.kept.of(DecisionRecord)) == 1
    assert world.kept.of(HourRecord)


def test_the_span_of_a_request_is_kept() -> None:
    """Where a trace goes on, its ids stand with the request; without one they are empty."""
    world = World({"store": {"decision_share": 1.0}})
    recorder = world.runtime.recorder
    context = trace.SpanContext(0xABC, 0xDEF, is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(context)):
        recorder.record_decision(*asked("a"))
    recorder.record_decision(*asked("a"))
    recorder.close()
    records = world.kept.of(DecisionRecord)
    assert [(int(one.trace_id or "0", 16), int(one.span_id or "0", 16)) for one in records] == [(0xABC, 0xDEF), (0, 0)]


async def test_two_recomputes_are_written_one_after_the_other() -> None:
    """A slow writer does not mix their records."""
    world = World()
    world.answers("a", 5, 0)
    world.now += 300.0
    await world.runtime.recomputer.recompute()
    world.now += CHECKPOINT_S
    await world.runtime.recomputer.recompute()
    told = world.runtime.recorder._written_references
    assert told is not None
    await asyncio.wait_for(told, 30)
    times = [record.at for record in world.kept.of(InputsRecord)]
    assert times == sorted(times)
    assert len(set(times)) == 2
