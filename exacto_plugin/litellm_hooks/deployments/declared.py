"""Operators' declarations about the deployments of a model group.

Relative traffic under LiteLLM's own strategy, capacity in requests per minute, and fingerprints. Reads LiteLLM's
dictionaries and its router; computes no tiers.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from exacto_plugin.litellm_hooks.deployments.candidates import model_fingerprint
from exacto_plugin.litellm_hooks.deployments.prices import prices_of
from exacto_plugin.litellm_hooks.deployments.router_view import router_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from exacto_plugin.core.model import DeploymentKey
    from exacto_plugin.core.windows.token_usage import Tokens

SHUFFLE = "simple-shuffle"
"""LiteLLM's default strategy, the only one that uses declared weights."""

_METRICS = ("weight", "rpm", "tpm")
"""Parameters that ``simple_shuffle`` reads as weights, in this order.

The first one that any deployment has is used for all of them.
"""


class DeclaredDeployment(NamedTuple):
    """LiteLLM's deployment and its deployment key, which several may share."""

    key: DeploymentKey
    deployment: Mapping[str, Any]


class DeclaredLimits(NamedTuple):
    """Declared values by deployment key; deployments that share one are summed."""

    weights: Mapping[DeploymentKey, float] = {}
    """Relative traffic."""
    capacities: Mapping[DeploymentKey, float] = {}
    """Requests per minute; only for deployments with a known limit."""
    fingerprints: Mapping[DeploymentKey, str] = {}
    """Fingerprint of model and server."""
    prices: Mapping[DeploymentKey, float] = {}
    """Mean price of a request, in an arbitrary unit; only where LiteLLM knows it."""


def declared_limits(
    peers: Sequence[DeclaredDeployment], shuffled: bool, tokens: Callable[[DeploymentKey], Tokens | None]
) -> DeclaredLimits:
    """Return the declared values of a model group's deployments.

    Args:
        peers: deployments of the model group.
        shuffled: whether LiteLLM selects by weights.
        tokens: average tokens of a request, by key.
    """
    capacities: dict[DeploymentKey, float] = defaultdict(float)
    natures: dict[DeploymentKey, set[str]] = defaultdict(set)
    for key, deployment in peers:
        capacities[key] += capacity_rpm(deployment, tokens(key))
        natures[key].add(model_fingerprint(deployment))
    limited = {key: limit for key, limit in capacities.items() if limit < math.inf}
    marks = {key: _digest(sorted(told)) for key, told in natures.items()}
    return DeclaredLimits(_weights(peers, shuffled), limited, marks, request_prices(peers, tokens))


def request_prices(
    peers: Sequence[DeclaredDeployment], tokens: Callable[[DeploymentKey], Tokens | None]
) -> dict[DeploymentKey, float]:
    """Return the mean price of a request by key, where LiteLLM knows the token prices.

    All with the mean tokens of the model group, so that only prices differ; one token each way while these are unknown,
    as ``:floor`` sorts. Deployments that share a key count equally.
    """
    known = [used for key in {peer.key for peer in peers} if (used := tokens(key)) is not None]
    given, got = (sum(each) / len(known) for each in zip(*known, strict=True)) if known else (1.0, 1.0)
    prices: dict[DeploymentKey, list[float]] = defaultdict(list)
    for key, deployment in peers:
        price = prices_of(deployment.get("litellm_params") or {}, deployment.get("model_info") or {})
        if price.prompt is not None and price.completion is not None:
            prices[key].append(price.prompt * given + price.completion * got)
    return {key: total / len(found) for key, found in prices.items() if math.isfinite(total := sum(found))}


def picks_by_weight(router: Any, model_group: str) -> bool:
    """Return whether LiteLLM's strategy for a model group is the weighted shuffle.

    Routing groups have strategies of their own. Strategies of single keys and requests are not considered.
    """
    return router_view(router).strategy(model_group) == SHUFFLE


def capacity_rpm(deployment: Mapping[str, Any], tokens: Tokens | None) -> float:
    """Return a deployment's capacity in requests per minute; else infinite.

    Limits in tokens per minute are divided by the average tokens of a request, and are ignored until that average is
    known. They are read where LiteLLM's own rate-limit check reads them: beside ``litellm_params``, in them, in
    ``model_info``.
    """

    def limit(name: str) -> float:
        places = (deployment, deployment.get("litellm_params") or {}, deployment.get("model_info") or {})
        found = next((place[name] for place in places if place.get(name) is not None), None)
        return math.inf if (number := _number(found)) is None else number

    if tokens is None:
        return limit("rpm")
    per_request = {"rpm": 1.0, "tpm": tokens.input + tokens.output, "itpm": tokens.input, "otpm": tokens.output}
    return min(limit(name) / used for name, used in per_request.items() if used > 0.0)


def _weights(peers: Sequence[DeclaredDeployment], shuffled: bool) -> dict[DeploymentKey, float]:
    each = [1.0] * len(peers)
    for metric in _METRICS if shuffled else ():
        params = (peer.deployment.get("litellm_params") or {} for peer in peers)
        given = [_number(one.get(metric)) or 0.0 for one in params]
        if max(given, default=0.0) > 0.0:
            each = given
            break
    weights: dict[DeploymentKey, float] = defaultdict(float)
    for peer, weight in zip(peers, each, strict=True):
        weights[peer.key] += weight
    return weights


def _number(value: object) -> float | None:
    """Return a finite, non-negative number; None for other values."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        return None
    return float(value)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
