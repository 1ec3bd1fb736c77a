"""Preferences for throughput and latency: order deployments, remove none.

Deployments that meet every preference are tried first, those that miss one last. Reads the snapshot's percentiles;
computes none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exacto_plugin.core.pace import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exacto_plugin.core.model import Candidate, DeploymentKey, GroupSnapshot
    from exacto_plugin.core.routing.policy import Preference

_MEETS, _UNKNOWN, _MISSES = range(3)


def preference_classes(
    preferences: Sequence[Preference], candidates: Sequence[Candidate], group: GroupSnapshot | None
) -> list[list[Candidate]]:
    """Split the candidates into non-empty classes, best first.

    The classes: every preference is met; too few measurements; a preference is missed. Candidates keep their order
    inside a class.
    """
    classes: tuple[list[Candidate], ...] = ([], [], [])
    for candidate in candidates:
        classes[preference_class(preferences, candidate.key, group)].append(candidate)
    return [one for one in classes if one]


def preference_class(preferences: Sequence[Preference], deployment: DeploymentKey, group: GroupSnapshot | None) -> int:
    """Return a deployment's class: 0 meets all preferences, 1 unknown, 2 misses one."""
    return max((_class_of(wish, deployment, group) for wish in preferences), default=_MEETS)


def _class_of(preference: Preference, deployment: DeploymentKey, group: GroupSnapshot | None) -> int:
    value = _measured(preference, deployment, group)
    if value is None:
        return _UNKNOWN
    met = value >= preference.bound if preference.of == "throughput" else value <= preference.bound
    return _MEETS if met else _MISSES


def _measured(preference: Preference, deployment: DeploymentKey, group: GroupSnapshot | None) -> float | None:
    """Return the percentile that a preference refers to.

    Until percentiles have been requested and computed, the verdict's median stands in for the 50th.
    """
    if group is None:
        return None
    pace = group.paces.get(deployment)
    if pace is not None:
        told = pace.throughput if preference.of == "throughput" else pace.latency_s
        return None if told is None else told[PERCENTILES.index(preference.percentile)]
    verdict = group.verdicts.get(deployment) if preference.percentile == PERCENTILES[0] else None
    if verdict is None:
        return None
    return verdict.throughput if preference.of == "throughput" else verdict.latency_s
