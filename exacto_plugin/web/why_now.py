"""The reasons of the tiers that are in force, for the API, the page and programs.

Knows no web framework, which programs without the proxy do not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.audit import views
from exacto_plugin.audit.why import judged_now, why_view
from exacto_plugin.benchmark_scores.source import runs_since
from exacto_plugin.benchmark_scores.standings import WINDOW_S
from exacto_plugin.benchmark_scores.views import benchmark_views
from exacto_plugin.core.model import DeploymentKey
from exacto_plugin.core.routing.overrides import OverriddenVerdict
from exacto_plugin.core.views import pairs_view
from exacto_plugin.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exacto_plugin.core.engine.engine import Engine
    from exacto_plugin.core.model import GroupSnapshot, Snapshot
    from exacto_plugin.core.scoring.flaws import FlawCounts
    from exacto_plugin.core.windows.pairs import PairedAnswers
    from exacto_plugin.litellm_hooks.runtime.providers import Providers
    from exacto_plugin.store.store import Store


class WhyNow:
    """The reasons of the tiers that are in force.

    Args:
        clock: UTC seconds.
        engine: has the verdicts.
        store: has the progress of readmission, as of the last record.
        providers: of the deployments.
        flaws: of their answers, since the process started.
        pairs: their answers to the same requests.
        references: by model group, the deployment that benchmark scores are compared with; called for each answer.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        engine: Engine,
        store: Store,
        providers: Providers,
        flaws: FlawCounts,
        pairs: PairedAnswers,
        references: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._references = references
        self._flaws = flaws
        self._pairs = pairs
        self._clock = clock
        self._engine = engine
        self._store = store
        self._providers = providers

    async def answers(self, deployment: str, model_group: str | None) -> list[dict[str, Any]]:
        """Return why a deployment has its tier, in one model group or in each of its own."""
        snapshot = self._engine.snapshot
        groups = snapshot.groups.values()
        key = DeploymentKey(deployment)
        serving = [one for one in groups if key in one.verdicts and model_group in (None, one.model_group)]
        return [await self._answer(snapshot, group, key) for group in serving]

    async def _answer(self, snapshot: Snapshot, group: GroupSnapshot, deployment: DeploymentKey) -> dict[str, Any]:
        verdict, now = group.verdicts[deployment], self._clock()
        inputs, scores = None, None
        reference = self._references().get(group.model_group)
        try:
            _, inputs = await self._store.read(lambda connection: views.kept_inputs(connection, group.model_group, now))
            runs = await self._store.read(lambda connection: runs_since(connection, now - WINDOW_S, group.model_group))
            scores = benchmark_views(runs.get(group.model_group, []), deployment, now, reference)
        except StoreError:
            pass
        provider = self._providers.by_deployment.get(deployment, "")
        judged = judged_now(group, deployment, provider, snapshot.id, self._flaws, now)
        pairs = pairs_view(self._pairs.of(group.model_group, deployment))
        judged = judged._replace(pairs=pairs, benchmarks=scores)
        word = verdict.override if isinstance(verdict, OverriddenVerdict) else None
        return why_view(judged, word, self._engine.rule, inputs, now, past=False)
