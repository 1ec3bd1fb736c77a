"""Records of runs: accepted ones, and refused ones with their reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from exacto_plugin.bench.refusals import refusal
from exacto_plugin.benchmark_scores.statistics import score_of
from exacto_plugin.records import BenchmarkRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from exacto_plugin.bench.runs import BenchmarkRun


class Known(NamedTuple):
    """A deployment on record."""

    model_group: str
    deployment: str
    provider: str


class UnnamedDeploymentError(LookupError):
    """No deployment on record has this name."""


def deployments_named(name: str, known: Iterable[Known], model_group: str | None = None) -> list[Known]:
    """Return the deployments with a name: a key, else a provider, in any spelling.

    One for each model group that the deployment serves.

    Args:
        name: as the log or the user writes it.
        known: all deployments on record.
        model_group: only in this one.

    Raises:
        UnnamedDeploymentError: it means none, or several deployments of one model group.

    >>> deployments_named("Deep Infra", [Known("kimi", "d1", "deepinfra"), Known("kimi", "d2", "groq")])
    [Known(model_group='kimi', deployment='d1', provider='deepinfra')]
    """
    here = [one for one in known if model_group in (None, one.model_group)]
    found = [one for one in here if one.deployment == name]
    found = found or [one for one in here if _plain(name) in (_plain(one.deployment), _plain(one.provider))]
    if not found:
        raise UnnamedDeploymentError(f"no deployment on record is called {name!r}")
    groups = [one.model_group for one in found]
    if len(set(groups)) < len(groups):
        names = ", ".join(sorted({one.deployment for one in found}))
        raise UnnamedDeploymentError(f"{name!r} means several deployments: {names}")
    return found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def names_another(run: BenchmarkRun, named: Sequence[Known], known: Iterable[Known]) -> str:
    """Return the reason to refuse a run for its log's deployment; empty without one."""
    try:
        meant = {one.deployment for one in deployments_named(run.deployment, known)}
    except UnnamedDeploymentError:
        return ""
    return "" if meant & {one.deployment for one in named} else f"its log names another deployment: {run.deployment}"


def records_of(
    run: BenchmarkRun, named: Sequence[Known], known: Iterable[Known], seen: AbstractSet[str], now: float
) -> list[BenchmarkRecord]:
    """Return the records of a run, one for each model group.

    Args:
        run: as read from its log.
        named: the deployment that it is for, in each of its model groups.
        known: all deployments on record.
        seen: digests of the logs that were read before.
        now: UTC seconds, for a log without a time.
    """
    names = frozenset([run.deployment, *(one.deployment for one in named)])
    reason = names_another(run, named, known) or refusal(run, names, seen) or ""
    error = score_of(run.tasks)[1]
    return [
        BenchmarkRecord(
            at=min(now, run.finished or now),
            model_group=one.model_group,
            deployment=one.deployment,
            benchmark=run.benchmark,
            score=run.score,
            questions=len(run.tasks),
            run=run.log_digest,
            harness=run.harness[:200],
            configuration=run.configuration_hash,
            tasks={key: list(score) for key, score in run.tasks.items()},
            error=error if math.isfinite(error) else None,
            answers=sum(score.answers for score in run.tasks.values()),
            errors=run.errors,
            input_tokens=run.input_tokens,
            output_tokens=run.output_tokens,
            paired=run.paired,
            refused=reason,
        )
        for one in named
    ]
