"""The questions of a program about its own tiers: why, report and flaws."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from exacto_plugin.audit.names import KnownDeployment, resolve_deployments
from exacto_plugin.audit.queries import recorded_report
from exacto_plugin.audit.sentences import why_sentence
from exacto_plugin.core.routing.counterfactual import whole_hours
from exacto_plugin.errors import ExactoError, UnknownNameError
from exacto_plugin.web.views import why_now_of

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.runtime.runtime import Runtime


_WRITTEN_S = 2.0
"""Seconds for which a report waits until what was counted is in the database."""

_NEXT_VERDICTS = 'recompute() makes verdicts now, the timer at tiers()["next_recompute_at"]'


def known_deployments(runtime: Runtime) -> list[KnownDeployment]:
    """Return the configured deployments, and others with a verdict."""
    configured = {(group, one.key): one.provider for group, found in runtime.overrides.known().items() for one in found}
    judged = {
        (group.model_group, key): runtime.providers.by_deployment.get(key, "")
        for group in runtime.engine.snapshot.groups.values()
        for key in group.verdicts
    }
    return [KnownDeployment(*names, provider) for names, provider in {**judged, **configured}.items()]


async def why_text(runtime: Runtime, deployment: str, model_group: str | None) -> str:
    """Return why a deployment has its tier.

    One paragraph for each of its model groups.

    Raises:
        UnknownNameError: there is none of this name; the message suggests one.
    """
    known = known_deployments(runtime)
    if not known:
        raise UnknownNameError(
            f"there is no deployment {deployment!r}: no router with deployments is attached, and no direct call has a"
            f" verdict yet; {_NEXT_VERDICTS}"
        )
    keys = resolve_deployments(deployment, known, model_group)
    why_now = why_now_of(runtime)
    views = [view for key in keys for view in await why_now.answers(key, model_group)]
    if not views:
        return f"{deployment} has no verdict yet: {_NEXT_VERDICTS}."
    return "\n\n".join(why_sentence(view) for view in views)


async def report_data(runtime: Runtime, since: float, until: float) -> dict[str, Any]:
    """Return what tiers changed in a time range; see ``exacto report``.

    Raises:
        ExactoError: the program keeps no records.
    """
    if runtime.store.location is None:
        raise ExactoError('a report needs records: Exacto({"store": {"url": "sqlite:///exacto.sqlite"}})')
    runtime.recorder.flush()
    await asyncio.to_thread(runtime.store.flush, _WRITTEN_S)
    found = await runtime.store.read(lambda connection: recorded_report(connection, since, until))
    begins, ends = whole_hours(since, until, runtime.context.clock())
    return {"since": begins, "until": ends, "model_groups": found}


def flaws_data(runtime: Runtime) -> dict[str, dict[str, dict[str, int]]]:
    """Return model group -> deployment -> flaw -> answers with it, since the start."""
    counts = runtime.samples.flaws
    found: dict[str, dict[str, dict[str, int]]] = {}
    for group, deployment in sorted(counts.deployments()):
        flaws = {flaw.value: number for flaw, number in counts.of(group, deployment).items()}
        found.setdefault(group, {})[deployment] = flaws
    return found
