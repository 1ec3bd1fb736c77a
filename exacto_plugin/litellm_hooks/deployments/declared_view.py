"""Declared prices and properties of deployments, as plain data for views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exacto_plugin.litellm_hooks.deployments.candidates import candidate_of

if TYPE_CHECKING:
    from exacto_plugin.litellm_hooks.deployments.routers import Routers


def declared_of(routers: Routers, model_group: str) -> dict[str, dict[str, Any]]:
    """Return what is declared for each deployment of a model group, by its key.

    Prices are in USD per million tokens, None where unknown; quantization is empty where it is not declared.
    """
    candidates = (candidate_of(deployment) for deployment in routers.deployments_of(model_group))
    return {
        candidate.key: {
            "prompt_usd_per_million": _per_million(candidate.prompt_price),
            "completion_usd_per_million": _per_million(candidate.completion_price),
            "quantization": candidate.quantization,
        }
        for candidate in candidates
    }


def _per_million(price: float | None) -> float | None:
    return None if price is None else round(price * 1e6, 9)
