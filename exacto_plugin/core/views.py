"""Conversion of a snapshot into plain data for API and command line. Pure."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from exacto_plugin.core.pace import PERCENTILES
from exacto_plugin.core.routing.overrides import OverriddenVerdict
from exacto_plugin.core.windows.observed import Observed
from exacto_plugin.core.wire import to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from exacto_plugin.core.model import GroupSnapshot, Reason, Verdict
    from exacto_plugin.core.pace import RecentPace
    from exacto_plugin.core.routing.caller_preferences import CallerPreferences
    from exacto_plugin.core.scoring.flaws import FlawCounts, FlawShares
    from exacto_plugin.core.windows.pairs import PairView


class ReferenceNumbers(Protocol):
    """A reference of a snapshot, or one on record."""

    @property
    def median(self) -> float | None: ...
    @property
    def mad(self) -> float | None: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def peers(self) -> int: ...


def group_view(
    group: GroupSnapshot,
    providers: Mapping[str, str],
    flaws: FlawCounts,
    observed: Mapping[tuple[str, str], Observed],
    now: float,
) -> dict[str, Any]:
    """Return one model group's references, and its deployments with their verdicts.

    Args:
        group: the verdicts in force.
        providers: deployment key -> provider.
        flaws: the counts of flaws since the process started.
        observed: the numbers that do not affect tiers, by model group and deployment.
        now: UTC seconds, the end of the windows of flaws.
    """
    deployments: list[dict[str, Any]] = [
        {
            **verdict_view(verdict, providers.get(key, "")),
            "pace": pace_view(group.paces.get(key)),
            "flaws": {flaw.value: count for flaw, count in flaws.of(group.model_group, key).items()},
            "flaw_rates": flaw_rates_view(flaws.rates.of(group.model_group, key, now)),
            "observed": observed_view(observed.get((group.model_group, key), Observed())),
        }
        for key, verdict in sorted(group.verdicts.items())
    ]
    references = {signal.value: reference_view(one) for signal, one in group.references.items()}
    return {
        "model_group": group.model_group,
        "at": group.at,
        "common_cause": None if group.common_cause is None else reason_view(group.common_cause),
        "references": with_step(references, chain.from_iterable(one["reasons"] for one in deployments)),
        "deployments": deployments,
    }


def with_choices(view: Mapping[str, Any], choices: CallerPreferences, curated: Sequence[str] | None) -> dict[str, Any]:
    """Return a model group's view with callers' preferences and its curated list.

    Args:
        view: the result of ``group_view``.
        choices: of this process.
        curated: the configured list; None without one.
    """
    name = view["model_group"]
    deployments = [{**one, "choices": choices.of(name, one["provider"])._asdict()} for one in view["deployments"]]
    listed = None if curated is None else list(curated)
    return {**view, "tool_keys": choices.callers(name), "curated": listed, "deployments": deployments}


def verdict_view(verdict: Verdict, provider: str) -> dict[str, Any]:
    """Return one deployment: its tier, since when, the numbers and the reasons."""
    return {
        "deployment": verdict.deployment,
        "provider": provider,
        "tier": verdict.tier.value,
        "since": verdict.since,
        "override": override_view(verdict),
        "throughput": verdict.throughput,
        "latency_s": verdict.latency_s,
        "signals": {signal.value: signal_view(one.value, one.samples) for signal, one in verdict.signals.items()},
        "reasons": [reason_view(reason) for reason in verdict.reasons],
    }


def signal_view(value: float | None, samples: int) -> dict[str, Any]:
    """Return a measured value of a deployment, with its number of samples."""
    return {"value": value, "samples": samples}


def reference_view(reference: ReferenceNumbers) -> dict[str, Any]:
    """Return the statistics of all deployments with enough samples.

    ``peers`` is their number.
    """
    return {
        "median": reference.median,
        "mad": reference.mad,
        "threshold": reference.threshold,
        "peers": reference.peers,
    }


def pace_view(pace: RecentPace | None) -> dict[str, Any]:
    """Return the percentiles of a deployment's recent answers.

    None with too few of them.

    Throughput is in tokens per second that so many percent of the answers reach, latency in seconds to the first token
    that so many percent do not exceed.
    """
    numbers = {"throughput": None, "latency_s": None} if pace is None else to_wire(pace)
    return {
        name: None if values is None else {f"p{share}": value for share, value in zip(PERCENTILES, values, strict=True)}
        for name, values in numbers.items()
    }


def observed_view(numbers: Observed) -> dict[str, Any]:
    """Return the numbers of a deployment that do not affect its tier."""
    return {
        "token_burn": {"value": numbers.token_burn, "samples": numbers.burn_answers, "flagged": numbers.burns},
        "queue_time": {"value": numbers.queue_s, "p90": numbers.queue_p90_s, "samples": numbers.queue_answers},
        "throughput_spread": {"value": numbers.throughput_spread, "samples": numbers.throughput_answers},
    }


def flaw_rates_view(windows: Iterable[FlawShares]) -> list[dict[str, Any]]:
    """Return the share of the answers with each flaw, shortest window first.

    ``since``: the first answer that this process counted, where that is within the window.
    """
    return [
        {
            "window_s": one.window_s,
            "since": one.since,
            "answers": one.answers,
            "rates": {flaw.value: count / one.answers for flaw, count in one.counts.items()},
        }
        for one in windows
    ]


def pairs_view(pairs: Iterable[PairView]) -> list[dict[str, Any]]:
    """Return a deployment compared with others, by requests that both were sent."""
    return [{**one._asdict(), "constant": one.is_constant} for one in pairs]


def override_view(verdict: Verdict) -> dict[str, Any] | None:
    """Return a deployment's override and its measured tier; None without an override."""
    if not isinstance(verdict, OverriddenVerdict) or verdict.override is None:
        return None
    return {**verdict.override.as_plain(), "measured_tier": verdict.measured.value}


def reason_view(reason: Reason) -> dict[str, Any]:
    """Return one reason: a number against a threshold, and how strict that is.

    Suspects have their chance and their share of the traffic in addition, values of runs the name of the run.
    """
    chosen = {} if reason.strictness is None else {"strictness": asdict(reason.strictness)}
    suspicion = {"chance": reason.chance, "traffic_share": reason.traffic_share}
    return {
        "code": reason.code.value,
        "signal": reason.signal.value if reason.signal is not None else None,
        "value": reason.value,
        "threshold": reason.threshold,
        "samples": reason.samples,
        "needed": reason.needed,
        "window_s": reason.window_s,
        "peers": reason.peers,
        **chosen,
        **({} if reason.begin is None else {"begin": reason.begin, "end": reason.end}),
        **({} if reason.chance is None else suspicion),
        **({} if reason.run is None else {"run": reason.run}),
    }


def with_step(references: dict[str, dict[str, Any]], reasons: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add the step of the reasons of one deployment or more to the references.

    ``convicts_above``, ``acquits_below`` and ``next_step`` with its cost and what it saves; nothing where one threshold
    does both.
    """
    for reason in reasons:
        chosen, signal = reason.get("strictness"), str(reason["signal"])
        if chosen is not None and signal in references and "step" not in references[signal]:
            references[signal] |= {name: value for name, value in chosen.items() if name != "by_price"}
    return references
