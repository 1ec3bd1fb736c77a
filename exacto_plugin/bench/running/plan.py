"""Answers and cost of runs of benchmarks, before anything is spent."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exacto_plugin.errors import ExactoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exacto_plugin.bench.isolated.configuration import IsolatedModels, Target
    from exacto_plugin.bench.running.specifications import BenchmarkSpec


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A benchmark and a deployment, or the unpinned baseline of a model group."""

    benchmark: str
    model: str
    """Name of the model in the isolated proxy: the deployment's key, or the baseline's name."""
    model_groups: tuple[str, ...]
    provider: str
    answers: int
    input_tokens: int
    """Estimates for all answers."""
    output_tokens: int
    usd: float | None
    """None: a price is not known."""
    is_local: bool
    """The deployment is on this machine."""
    skipped: str = ""
    """The reason why it is not run; empty: it is."""

    @property
    def costs_money(self) -> bool:
        """False only where nothing can be spent."""
        return not self.skipped and (self.usd is None or self.usd > 0) and not (self.is_local and self.usd is None)


@dataclass(frozen=True, slots=True)
class Choice:
    """The choice of runs to plan."""

    deployments: Sequence[str] = ()
    """Empty: all of them."""
    model_group: str | None = None
    runs: int | None = None
    """Answers to each task; None: those that a verdict needs."""
    baseline: bool = False
    """With the unpinned baseline of each model group."""
    user_model: str = ""


def planned(models: IsolatedModels, specs: Sequence[BenchmarkSpec], choice: Choice) -> list[PlannedRun]:
    """Return the runs, benchmark by benchmark.

    Raises:
        ExactoError: a deployment or model group is not there, or there are fewer runs than a verdict needs.
    """
    for name in (*choice.deployments, *([choice.user_model] if choice.user_model else ())):
        models.named(name)
    if choice.model_group is not None and choice.model_group not in models.baselines:
        raise ExactoError(f"no model group {choice.model_group!r}; there are: {', '.join(models.baselines)}")
    return [run for spec in specs for run in _of_benchmark(models, spec, choice)]


def _of_benchmark(models: IsolatedModels, spec: BenchmarkSpec, choice: Choice) -> Iterator[PlannedRun]:
    runs = choice.runs or spec.runs
    if runs < spec.runs:
        raise ExactoError(f"{spec.name}: a verdict needs {spec.runs} answers to each task, --runs {runs} is too few")
    targets = [
        one
        for one in models.targets
        if (not choice.deployments or one.deployment in choice.deployments)
        and choice.model_group in (None, *one.model_groups)
    ]
    user = models.named(choice.user_model) if choice.user_model and spec.user_model else None
    for target in targets:
        yield _run(spec, [target], target.deployment, target.model_groups, runs, user)
    if choice.baseline:
        for group, name in models.baselines.items():
            members = [one for one in targets if group in one.model_groups]
            if members:
                yield _run(spec, members, name, (group,), runs, user)


def _run(
    spec: BenchmarkSpec,
    members: Sequence[Target],
    name: str,
    groups: tuple[str, ...],
    runs: int,
    user: Target | None,
) -> PlannedRun:
    """Return one run; of several members the dearest counts."""
    answers = spec.tasks * runs
    read, written = answers * spec.input_tokens, answers * spec.output_tokens
    costs = [_usd(one, read, written) for one in members]
    if user is not None:  # the simulated user reads about a tenth of what the model reads
        costs.append(_usd(user, read // 10, written))
    known = [cost for cost in costs if cost is not None]
    usd = max(known[: len(members)]) + sum(known[len(members) :]) if len(known) == len(costs) else None
    reason = ""
    if spec.tools and not all(one.tools for one in members):
        reason = "it takes no tools"
    elif user is not None and user.deployment == name:
        reason = "it speaks as the user"
    local = all(_is_loopback(one.host) for one in (*members, *([user] if user else ())))
    return PlannedRun(
        spec.name, name, groups, members[0].candidate.provider, answers, read, written, usd, local, reason
    )


def _usd(target: Target, read: int, written: int) -> float | None:
    prompt, completion = target.candidate.prompt_price, target.candidate.completion_price
    return None if prompt is None or completion is None else prompt * read + completion * written


def _is_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_spending(runs: Sequence[PlannedRun], *, agreed: bool, max_usd: float | None) -> None:
    """Check that runs may spend what they would.

    Raises:
        ExactoError: money would be spent without agreement, without a limit, or at an unknown price.
    """
    paid = [run for run in runs if run.costs_money]
    if not paid:
        return
    _check_known({run.model for run in paid if run.usd is None})
    total = sum(run.usd or 0.0 for run in paid)
    if not agreed or max_usd is None:
        raise ExactoError(f"this would cost about {total:.2f} USD: add --yes and a limit, --max-usd {total * 1.5:.2f}")


def check_prices(targets: Iterable[Target]) -> None:
    """Check that a budget can be kept for deployments.

    Raises:
        ExactoError: the price of one that is not on this machine is not known.
    """
    _check_known({one.deployment for one in targets if _usd(one, 1, 1) is None and not _is_loopback(one.host)})


def _check_known(unpriced: Iterable[str]) -> None:
    if names := ", ".join(sorted(unpriced)):
        raise ExactoError(
            f"the price of {names} is not known, so that no budget could be kept: "
            "set input_cost_per_token and output_cost_per_token"
        )
