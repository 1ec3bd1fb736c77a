"""The samples of one process: each goes to every subscriber, in order.

Is on the path of responses, not on that of requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.model import BROKEN, Blame, Flaw
from exacto_plugin.core.scoring.flaws import FlawCounts
from exacto_plugin.core.windows.pairs import PairedAnswer, PairedAnswers
from exacto_plugin.core.windows.reported_limits import ReportedLimits
from exacto_plugin.core.windows.token_usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import Candidate, DeploymentKey, Sample
    from exacto_plugin.core.scoring.attribution import Attribution
    from exacto_plugin.litellm_hooks.context import Context
    from exacto_plugin.litellm_hooks.deployments.routers import Routers
    from exacto_plugin.litellm_hooks.request.attempts import Attempt
    from exacto_plugin.litellm_hooks.runtime.observed import ObservedNumbers
    from exacto_plugin.litellm_hooks.runtime.providers import Providers
    from exacto_plugin.store.sample_log import SampleLog


class SampleSink:
    """The receiver of all samples. One per process, thread-safe.

    Args:
        context: of this process.
        routers: deployments that none of them has are those of direct calls.
        engine: gets every sample.
        lock: the engine's; answers of synchronous calls arrive in threads.
        observed: gets every sample last, because it affects nothing.
        providers: gets the provider of every deployment.
        log: gets every sample; None where none is configured.
    """

    def __init__(
        self,
        context: Context,
        routers: Routers,
        engine: Engine,
        lock: AbstractContextManager[object],
        observed: ObservedNumbers,
        providers: Providers,
        log: SampleLog | None,
    ) -> None:
        self._context = context
        self._routers = routers
        self._lock = lock
        self._providers = providers
        self._counts = engine.counts
        self.log = log
        self.token_use = TokenUsage()
        self.limits = ReportedLimits()
        self.flaws = FlawCounts()
        self.pairs = PairedAnswers()
        logged: tuple[Callable[[Sample], None], ...] = () if log is None else (log.sample,)
        self.subscribers: list[Callable[[Sample], None]] = [
            self.token_use.add,
            *logged,
            engine.record,
            observed.add,
            self.flaws.rates.add,
        ]
        """Called with every sample that counts, in this order, under the lock."""
        self.recorded = 0
        """Samples that counted, since the start."""

    def record(self, sample: Sample, candidate: Candidate) -> None:
        """Append one sample.

        Samples of names that requests invented leave nothing behind until one is a success.
        """
        with self._lock:
            if not self._counts(sample):
                return
            self._providers.note(candidate)
            for subscriber in self.subscribers:
                subscriber(sample)
            self.recorded += 1

    def note_limit(self, sample: Sample, candidate: Candidate, limit: float) -> None:
        """Note the requests a minute that an answer's headers allow its deployment."""
        with self._lock:
            if self._counts(sample):
                self.limits.note(sample.model_group, candidate, limit, sample.at)

    def note_pairs(self, attempt: Attempt, attempts: Iterable[Attempt], sample: Sample) -> None:
        """Compare an answer, or a failure, with those of the request's other attempts.

        Args:
            attempt: the scored one; each pair is counted when the later of both is.
            attempts: all of the request.
            sample: of the attempt.
        """
        if attempt.paired is not None:
            return
        reported = sample.ok and sample.input_tokens > 0 and Flaw.NO_USAGE not in sample.flaws
        bad = sample.lost or (sample.outcome is not None and sample.outcome.is_bad)
        broken = sample.blame is Blame.PROVIDER and not BROKEN.isdisjoint(sample.flaws)
        tokens = sample.input_tokens if reported else None
        attempt.paired = PairedAnswer(sample.deployment, tokens, sample.ok and not (bad or broken))
        others = [
            one.paired
            for one in attempts
            if one is not attempt and one.paired is not None and one.model_group == attempt.model_group
        ]
        if not others:
            return
        with self._lock:
            for one in others:
                self.pairs.add(attempt.model_group, attempt.paired, one)

    def note_flaws(self, attribution: Attribution, model_group: str, candidate: Candidate) -> None:
        """Count the flaws of one answer, whether or not it counts for tiers."""
        if attribution.flaws:
            with self._lock:
                self.flaws.add(model_group, candidate.key, attribution.flaws)
            self._context.telemetry.flaws(model_group, candidate, attribution.flaws)

    def record_direct_call(self, sample: Sample) -> None:
        """Register a direct call's deployment unless routers serve a model of that name."""
        if not self._routers.on_proxy and not self._routers.deployments_of(sample.model_group):
            self._routers.direct_calls.add(sample.model_group, sample.deployment, sample.at)

    def flawed(self) -> set[tuple[str, str]]:
        """Return the deployments with flaws, each as model group and key."""
        with self._lock:
            return self.flaws.deployments()

    def forget_removed(self, served: set[tuple[str, DeploymentKey]], flawed: set[tuple[str, str]]) -> None:
        """Forget the numbers of removed deployments.

        Args:
            served: model group and key of the deployments that are there.
            flawed: those with flaws when their list was begun; later ones are kept.
        """
        with self._lock:
            self.token_use.retain(served)
            self.limits.retain(served, self._context.clock())
            self.flaws.drop(flawed - served)
            self.flaws.rates.retain(served)
            self.pairs.retain(served)
