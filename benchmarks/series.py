"""Counts the series of every instrument with 300 deployments that had every outcome, flaw, tier and signal.

Once with the three usual errors of attempts in each model group, and once with all errors in all tiers of all groups.
"""

from __future__ import annotations

import itertools
import sys
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import litellm
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from exacto_plugin.config.settings import Settings
from exacto_plugin.core.decision import Decision
from exacto_plugin.core.model import (
    Candidate,
    DeploymentKey,
    Flaw,
    GroupSnapshot,
    LiteLLMId,
    Outcome,
    Reference,
    SignalValue,
    Snapshot,
    Sort,
    Tier,
    Transition,
    Verdict,
)
from exacto_plugin.core.scoring.evaluation import Evaluation
from exacto_plugin.core.windows.observed import Observed
from exacto_plugin.litellm_hooks.runtime.runtime import Runtime
from exacto_plugin.telemetry.attributes import ERROR_TYPES
from exacto_plugin.telemetry.table import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GROUPS, DEPLOYMENTS_OF_EACH = 50, 6
MOST = 10_000
"""Series of one process that are intended at most."""
LIMIT = 2_000
"""OpenTelemetry's own limit of an instrument's series."""
USUAL_ERRORS = ("rate_limit", "server_error", "timeout")
DECISIONS = {
    True: ("tiers", "sort", "tried_all", "exploration"),
    False: ("mode_off", "no_tools", "no_sort", "preferred"),
}
"""Reasons of decisions that were applied, and of others."""
RESCUES = ("rescued", "in_vain", "failed", "too_late", "not_asked")
FILTERS = ("curated", "only", "ignore", "max_price", "data_collection", None)


def series(errors: Iterable[str]) -> Mapping[str, int]:
    """Count the series of each instrument after everything happened, with these errors of attempts."""
    reader = InMemoryMetricReader()
    runtime = Runtime(Settings(), meter_provider=MeterProvider([reader]))
    names = {
        f"group-{number}": [f"d-{number}-{place}" for place in range(DEPLOYMENTS_OF_EACH)] for number in range(GROUPS)
    }
    params = {"model": "openai/m", "api_base": "http://127.0.0.1:9", "api_key": "none"}
    entries = [
        {"model_name": group, "litellm_params": params, "model_info": {"id": key, "provider": f"p-{key}"}}
        for group, keys in names.items()
        for key in keys
    ]
    router = litellm.Router(model_list=entries)
    runtime.routers.set_source(lambda: router)
    for group, keys in names.items():
        _happen(runtime, group, keys, errors)
    signals = {signal: SignalValue(1.0, 9) for signal in SIGNALS}
    references = {signal: Reference(signal, 1.0, 1.0, 1.0, 6) for signal in SIGNALS}
    now = time.time()
    snapshots = {
        group: GroupSnapshot(
            group,
            {DeploymentKey(key): Verdict(DeploymentKey(key), Tier.VERIFIED_GOOD, signals=signals) for key in keys},
            references,
            now,
        )
        for group, keys in names.items()
    }
    runtime.engine.adopt(Snapshot("s", now, snapshots), {})
    seen = Observed(0.1, 300, 0.1, 0.2, 30, 0.1, 30)
    runtime.observed.latest = MappingProxyType({(group, key): seen for group, keys in names.items() for key in keys})
    data: Any = reader.get_metrics_data()
    metrics = [metric for scope in data.resource_metrics[0].scope_metrics for metric in scope.metrics]
    return {metric.name: len(metric.data.data_points) for metric in metrics}


def _happen(runtime: Runtime, group: str, keys: list[str], errors: Iterable[str]) -> None:
    """Let everything happen once in a model group."""
    telemetry = runtime.context.telemetry
    for key in keys:
        candidate = Candidate(LiteLLMId(key), DeploymentKey(key), f"p-{key}")
        telemetry.evaluations(group, candidate, [Evaluation(outcome) for outcome in Outcome])
        telemetry.flaws(group, candidate, list(Flaw))
        for before, after in itertools.permutations(Tier, 2):
            telemetry.transition(Transition(group, DeploymentKey(key), before, after, 0.0))
    for tier in (*Tier, None):
        for error in (None, *errors):
            telemetry.attempt(group, tier, error)
    for applied, reasons in DECISIONS.items():
        for reason in reasons:
            telemetry.decision(group, Decision(Sort.AUTO, (), (), applied, reason), 0.0001)
    telemetry.fallback_decision(group)
    for outcome in RESCUES:
        telemetry.rescue(group, outcome, 0.1, 0.1)
        telemetry.request(outcome)
    for name in FILTERS:
        telemetry.refusal(group, name)


def main() -> int:
    """Print the series of each instrument; fail where the usual ones are too many."""
    usual, worst = series(USUAL_ERRORS), series(sorted(ERROR_TYPES))
    out = sys.stdout.write
    out(f"{GROUPS} model groups with {DEPLOYMENTS_OF_EACH} deployments each. Series of each instrument: with usual\n")
    out(f"errors ({', '.join(USUAL_ERRORS)}), and with all errors in all tiers. SDK's limit: {LIMIT:,}.\n\n")
    for name, count in sorted(usual.items(), key=lambda one: (-one[1], one[0])):
        out(f"{count:>7,} {worst[name]:>7,}  {name}\n")
    out(f"{sum(usual.values()):>7,} {sum(worst.values()):>7,}  all together\n")
    return int(sum(usual.values()) > MOST or max(usual.values()) >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
