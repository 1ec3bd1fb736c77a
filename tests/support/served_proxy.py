"""A runtime as a proxy has it, with a router, a store and seeded traffic; its clock moves only when told to.

Everything but the providers' answers is real: engine, recorder, store, exchange, overrides, outcome log. The same
traffic gives the same records, as far as ``repeatable`` holds.
"""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any
from unittest import mock

import litellm

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.model import Candidate, DeploymentKey, LiteLLMId, Outcome, Sample
from exacto_plugin.core.routing.ordering import RoutingRequest
from exacto_plugin.core.routing.policy import Policy
from exacto_plugin.litellm_hooks.request.attempts import Attempt
from exacto_plugin.litellm_hooks.request.routing_state import RoutingState
from exacto_plugin.litellm_hooks.request.state import RequestState
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.sharing.intervals import PUSH_S
from exacto_plugin.store.exchange import StoreExchange
from exacto_plugin.store.location import location_of_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exacto_plugin.core.routing.overrides import OverrideAction

START = 1_750_003_200.0
"""In the past, and a time at which every bucket of the windows begins a period."""
INTERVAL_S = 300.0
SECRET = "sk-of-a-test"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "moonshotai/kimi-k2": ("aster", "birch", "cedar", "dahlia"),
    "qwen3": ("elm", "fir"),
}
_PRICES = {"aster": 1e-6, "birch": 2e-6, "cedar": 1e-6, "dahlia": 3e-6, "elm": 1e-6, "fir": 2e-6}


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Random names count up, chance is seeded, and the installation has a secret."""
    numbers = iter(range(1, 2**31))
    random.seed(1)
    with (
        mock.patch("secrets.token_hex", lambda size: f"{next(numbers):0{2 * size}x}"[-2 * size :]),
        mock.patch.dict("os.environ", {"LITELLM_SALT_KEY": SECRET}),
    ):
        yield


def model_list() -> list[dict[str, Any]]:
    """The deployments as LiteLLM's configuration has them."""
    params = {"model": "openai/m", "api_base": "http://127.0.0.1:9", "api_key": "sk-none"}
    return [
        {
            "model_name": group,
            "litellm_params": {**params, "input_cost_per_token": _PRICES[name], "output_cost_per_token": 0.0},
            "model_info": {"id": name, "provider": f"{name}-ai"},
        }
        for group, names in GROUPS.items()
        for name in names
    ]


class ServedProxy:
    """One worker.

    Args:
        block: its ``exacto_settings``.
        url: of the store; None keeps nothing. Without ``redis.url`` in the settings it shares through the store.
    """

    def __init__(self, block: Mapping[str, Any] | None = None, url: str | None = None) -> None:
        self.now = START
        self.router = litellm.Router(model_list=model_list())
        self._new: Settings | None = None
        self.runtime = Runtime(
            Settings.model_validate(block or {}),
            lambda: self.now,
            self._changed,
            place=None if url is None else location_of_url(url),
            logs_samples=url is not None,
        )
        self.runtime.routers.set_source(lambda: self.router)
        self._random = random.Random(2)
        if url is not None and self.runtime.context.settings.redis.url is None:
            store = self.runtime.store
            exchange = StoreExchange(store, PUSH_S, clock=lambda: self.now)
            self.runtime.replication.sources = [lambda: exchange]

    def _changed(self) -> Settings | None:
        new, self._new = self._new, None
        return new

    def configure(self, block: Mapping[str, Any]) -> None:
        """Settings that are taken up before the next recompute."""
        self._new = Settings.model_validate(block)

    def candidates(self, group: str) -> list[Candidate]:
        """The deployments of a model group."""
        return [Candidate(LiteLLMId(name), DeploymentKey(name), f"{name}-ai", _PRICES[name]) for name in GROUPS[group]]

    def answers(self, calls: int, failing: Mapping[str, float], span_s: float = INTERVAL_S) -> None:
        """Answers of every deployment, in order of time over the next ``span_s`` seconds.

        Args:
            calls: of each deployment.
            failing: share of bad calls; missing: none.
            span_s: time that they take.
        """
        begin = self.now
        for number in range(calls):
            for group in GROUPS:
                for candidate in self.candidates(group):
                    self.now = begin + span_s * number / calls
                    self.runtime.samples.record(self._sample(group, candidate, failing), candidate)
        self.now = begin + span_s

    def _sample(self, group: str, candidate: Candidate, failing: Mapping[str, float], *, probe: bool = False) -> Sample:
        draw = self._random
        outcome = Outcome.SCHEMA_MISMATCH if draw.random() < failing.get(candidate.key, 0.0) else Outcome.VALID
        streamed = draw.random() < 0.5
        return Sample(
            group,
            candidate.key,
            self.now,
            tools_offered=True,
            outcome=outcome,
            input_tokens=draw.randrange(200, 4000),
            output_tokens=draw.randrange(100, 900),
            duration_s=round(draw.uniform(2.0, 9.0), 3),
            first_token_s=round(draw.uniform(0.2, 1.5), 3) if streamed else None,
            streamed=streamed,
            probe=probe,
            caller=f"{draw.randrange(12):04x}",
            complexity=draw.randrange(4),
        )

    def request(self, group: str, failing: Mapping[str, float], *, fails_first: bool = False) -> RequestState:
        """A request with tools: decided about, sent, answered and put on record.

        Args:
            group: the model group that it asks.
            failing: as for ``answers``.
            fails_first: the first attempt ends with an error, so that a second one is made.
        """
        runtime, candidates = self.runtime, self.candidates(group)
        state = RequestState(model_group=group, routing=RoutingState(Policy()), tools=True)
        state.call_id = f"call-{state.decision_id}"
        for fails in (True, False) if fails_first else (False,):
            ask = RoutingRequest(group, candidates, Policy(), tools=True, tried=state.tried)
            decision = runtime.engine.decide(ask, self._random.random)
            state.routing.decision, state.routing.snapshot_id = decision, runtime.engine.snapshot.id
            state.routing.candidates = {one.id: one for one in candidates}
            runtime.recorder.record_decision(state, ask, decision)
            picked = next(one for one in candidates if one.id == decision.pool[0])
            tier = next(one.tier for one in decision.ranking if one.id == picked.id)
            attempt = Attempt(picked, group, tier, probe=decision.explored)
            state.attempts.append(attempt)
            if fails:
                attempt.ended, attempt.failure = True, "server_error"
        sample = self._sample(group, picked, failing, probe=attempt.probe)
        runtime.samples.record(sample, picked)
        attempt.verdict = str(sample.outcome)
        attempt.cost = (picked.price or 0.0) * sample.output_tokens
        runtime.recorder.record_answer(state, attempt, tools=True, bad=sample.outcome is not Outcome.VALID)
        runtime.recorder.record_end(state)
        return state

    async def say(self, word: OverrideAction, deployment: str, for_s: float, reason: str) -> None:
        """An operator's override."""
        overriding = self.runtime.overrides
        await overriding.apply_override(word, deployment, for_s, reason, overriding.author("an operator"))

    async def turn(self) -> None:
        """What the timers of a worker do, and everything written."""
        runtime = self.runtime
        for step in runtime.periodic_jobs.steps:
            await step()
        await runtime.replication.run_step()
        if runtime.recorder._written_references is not None:
            await runtime.recorder._written_references

    async def end(self) -> None:
        """The process ends in good order."""
        self.now += 10.0
        self.runtime.recorder.close()
        await self.runtime.replication.aclose()
        if self.runtime.samples.log is not None:
            self.runtime.samples.log.close()
        if self.runtime.store.location is not None:
            assert self.runtime.store.flush()
        self.runtime.store.close()
