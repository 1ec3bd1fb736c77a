"""Long-run pick shares of candidates: exact probabilities instead of many draws.

Pools come from ``ordering.decide``; only the sum over the chances of merged tiers is computed here. For simulations and
reports: no request needs it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from exacto_plugin.core.model import DeploymentKey, LiteLLMId, Tier
from exacto_plugin.core.routing.ordering import decide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from exacto_plugin.core.model import Snapshot
    from exacto_plugin.core.routing.ordering import RoutingRequest

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(96)
# Of t = ((1 + x) / (1 - x))²: the square puts more nodes near 0, where heavy members decay.
_ROOT = (1.0 + _NODES) / (1.0 - _NODES)
_T = _ROOT**2
_DT = 4.0 * _ROOT * _NODE_WEIGHTS / (1.0 - _NODES) ** 2


def shares(ask: RoutingRequest, snapshot: Snapshot, weights: Mapping[LiteLLMId, float]) -> dict[LiteLLMId, float]:
    """Return each candidate's probability in a draw from the pool by ``weights``.

    Args:
        ask: one attempt; its sort must not be a lottery. Probes, which go by ``ordering.probe_shares``, are left out.
        snapshot: the verdicts in force.
        weights: the strategy's weight of each candidate, by id; positive.

    Returns:
        By id, the long-run shares of ``decide`` and such a draw; the numbers add up to 1.
    """
    decision = decide(ask, snapshot, lambda: 0.0, lambda _: False)
    widest = decision.pool
    picked = dict.fromkeys((candidate.id for candidate in ask.candidates), 0.0)
    key_of = {candidate.id: candidate.key for candidate in ask.candidates}
    chance = {name: _chance(ask, snapshot, key_of[name]) for name in widest}
    if not decision.applied or min(chance.values(), default=1.0) >= 1.0:
        return picked | _lottery(widest, weights)
    keys = list(dict.fromkeys(key_of[name] for name in widest if chance[name] < 1.0))
    certain = math.fsum(weights[name] for name in widest if chance[name] >= 1.0)
    # Candidates of one key are in or out together.
    together = [math.fsum(weights[name] for name in widest if key_of[name] == key) for key in keys]
    kept = [next(chance[name] for name in widest if key_of[name] == key) for key in keys]
    unit, each = expected_shares(np.array(together), np.array(kept), np.array(certain))
    by_key = {key: share / weight for key, share, weight in zip(keys, each.tolist(), together, strict=True)}
    for name in widest:
        picked[name] = weights[name] * by_key.get(key_of[name], float(unit))
    if not certain:
        nobody = math.prod(1.0 - q for q in kept)
        narrowest = decide(ask, snapshot, lambda: math.nextafter(1.0, 0.0), lambda _: False)
        for name, share in _lottery(narrowest.pool, weights).items():
            picked[name] += nobody * share
    total = math.fsum(picked.values())
    return {name: share / total for name, share in picked.items()}


def _chance(ask: RoutingRequest, snapshot: Snapshot, key: DeploymentKey) -> float:
    """Return the probability that a merged pool includes a deployment."""
    group = snapshot.groups.get(ask.model_group)
    verdict = snapshot.verdict(ask.model_group, key)
    if group is None or verdict is None or not group.merge_tiers or verdict.tier is not Tier.INSUFFICIENT_DATA:
        return 1.0
    return verdict.keep_probability


def _lottery(pool: tuple[LiteLLMId, ...], weights: Mapping[LiteLLMId, float]) -> dict[LiteLLMId, float]:
    total = math.fsum(weights[name] for name in pool)
    return {name: weights[name] / total for name in pool}


def expected_shares(
    weights: NDArray[np.float64], kept: NDArray[np.float64], certain: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the expected shares of a pool with random members.

    With independent coins B, E[w_i B_i / (certain + sum of w_j B_j)] is the integral over t > 0 of
    w_i q_i exp(-(w_i + certain) t) times the product over the others of 1 - q_j + q_j exp(-w_j t), because
    1/x is the integral of exp(-x t). It is smooth, so a Gauss rule finds it: to 1e-7 where weights are 400:1.

    Args:
        weights: of the random members, 0 for others, shape ``[..., member]``.
        kept: their probabilities, 0 for others.
        certain: weight of the certain members, shape ``[...]``.

    Returns:
        The expected share per unit of certain weight, ``[...]``, and that of each random member, ``[..., member]``.
    """
    members = np.maximum((weights > 0).sum(axis=-1), 1)
    scale = weights.sum(axis=-1) / members + certain
    scale = np.where(scale > 0, scale, 1.0)
    weights, certain = weights / scale[..., np.newaxis], certain / scale
    decay = np.exp(-weights[..., np.newaxis] * _T)
    factors = 1.0 - kept[..., np.newaxis] * (1.0 - decay)
    everybody = factors.prod(axis=-2) * np.exp(-certain[..., np.newaxis] * _T) * _DT
    with np.errstate(invalid="ignore", divide="ignore"):
        others = np.where(factors > 0.0, everybody[..., np.newaxis, :] / factors, 0.0)
    each = weights * kept * (decay * others).sum(axis=-1)
    return np.where(certain > 0, everybody.sum(axis=-1) / scale, 0.0), each
