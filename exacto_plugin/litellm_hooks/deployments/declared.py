"""What operators declare about the deployments of a model group, in the words of the core.

Traffic that LiteLLM's own strategy would give each, requests a minute that each can take, and what each really is.
Reads LiteLLM's dictionaries and its router; concludes nothing about tiers.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.litellm_hooks.deployments.candidates import model_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from exacto_plugin.core.windows.token_usage import Tokens

SHUFFLE = "simple-shuffle"
"""LiteLLM's default strategy, the only one that picks by declared weights."""

_METRICS = ("weight", "rpm", "tpm")
"""What ``simple_shuffle`` looks for, in this order; the first that any deployment has is used for all of them."""


class DeclaredDeployment(NamedTuple):
    """One of LiteLLM's deployments and the key that its history is kept under, which several may share."""

    key: str
    deployment: Mapping[str, Any]


class DeclaredLimits(NamedTuple):
    """By key; those that share one add up."""

    weights: Mapping[str, float] = {}
    """Relative traffic."""
    capacities: Mapping[str, float] = {}
    """Requests a minute; only of those with a known limit."""
    fingerprints: Mapping[str, str] = {}
    """What it really is."""


def declared_limits(
    peers: Sequence[DeclaredDeployment], shuffled: bool, tokens: Callable[[str], Tokens | None]
) -> DeclaredLimits:
    """All that is declared about the deployments of a model group.

    Args:
        peers: its deployments.
        shuffled: whether LiteLLM picks by weights.
        tokens: average tokens of a request, by key.
    """
    capacities: dict[str, float] = defaultdict(float)
    natures: dict[str, set[str]] = defaultdict(set)
    for key, deployment in peers:
        capacities[key] += capacity_rpm(deployment, tokens(key))
        natures[key].add(model_fingerprint(deployment))
    limited = {key: limit for key, limit in capacities.items() if limit < math.inf}
    marks = {key: _digest(sorted(told)) for key, told in natures.items()}
    return DeclaredLimits(_weights(peers, shuffled), limited, marks)


def picks_by_weight(router: Any, model_group: str) -> bool:
    """Whether LiteLLM's strategy for a model group is the weighted shuffle.

    Routing groups have strategies of their own; what single keys and requests override is not known here.
    """
    context = getattr(router, "_get_routing_context", None)
    strategy = context(model_group)[0] if context is not None else getattr(router, "routing_strategy", None)
    return getattr(strategy, "value", strategy) == SHUFFLE


def capacity_rpm(deployment: Mapping[str, Any], tokens: Tokens | None) -> float:
    """Requests a minute that a deployment can take at most; infinite when no limit is known.

    Limits in tokens a minute become requests by the average request, and bind nobody until that is known. They are
    looked for where LiteLLM's own rate-limit check does: beside ``litellm_params``, in them, in ``model_info``.
    """

    def limit(name: str) -> float:
        places = (deployment, deployment.get("litellm_params") or {}, deployment.get("model_info") or {})
        found = next((place[name] for place in places if place.get(name) is not None), None)
        return math.inf if (number := _number(found)) is None else number

    if tokens is None:
        return limit("rpm")
    per_request = {"rpm": 1.0, "tpm": tokens.input + tokens.output, "itpm": tokens.input, "otpm": tokens.output}
    return min(limit(name) / used for name, used in per_request.items() if used > 0.0)


def _weights(peers: Sequence[DeclaredDeployment], shuffled: bool) -> dict[str, float]:
    each = [1.0] * len(peers)
    for metric in _METRICS if shuffled else ():
        params = (peer.deployment.get("litellm_params") or {} for peer in peers)
        given = [_number(one.get(metric)) or 0.0 for one in params]
        if max(given, default=0.0) > 0.0:
            each = given
            break
    weights: dict[str, float] = defaultdict(float)
    for peer, weight in zip(peers, each, strict=True):
        weights[peer.key] += weight
    return weights


def _number(value: object) -> float | None:
    """A number that can limit or weigh: finite and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        return None
    return float(value)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
