"""Token prices of a deployment: its own, else those of LiteLLM's price list.

The list is searched as LiteLLM searches it, in memory only and without errors for unknown models. A model has no price
here when LiteLLM prices it in other units, such as seconds or characters, or not at all. Where a price depends on the
length of the prompt, the price of the shortest prompt is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import litellm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class TokenPrices(NamedTuple):
    """Prices in USD per token; None where unknown.

    An explicit 0, of the operator or of the list, means free.
    """

    prompt: float | None
    completion: float | None
    cache_read: float | None
    """Price of a prompt token that the provider has cached."""


_FIELDS = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")
"""LiteLLM's names of the prices, in the order of :class:`TokenPrices`."""

_OTHER_UNITS = (
    "cost_per_second",
    "input_cost_per_second",
    "output_cost_per_second",
    "input_cost_per_character",
    "output_cost_per_character",
)
"""Prices in other units.

For a deployment with one of its own, the list's token price does not apply.

Source: ``litellm.types.utils.CustomPricingLiteLLMParams``.
"""

_ASKED_OVER_THE_NETWORK = frozenset({"huggingface", "lemonade", "ollama", "ollama_chat"})
"""Providers whose servers ``litellm.get_model_info`` queries.

For their models only exact names in the list are used.

Source: ``litellm.utils.get_model_info_helper`` and the provider classes with a ``get_model_info``, 1.106.2 to 1.110.2.
"""


def prices_of(litellm_params: Mapping[str, Any], model_info: Mapping[str, Any]) -> TokenPrices:
    """Return the token prices of a deployment.

    Args:
        litellm_params: LiteLLM's parameters of the deployment; may contain its own prices.
        model_info: LiteLLM's information on the deployment; may contain its own prices.
    """
    own = (litellm_params, model_info)
    otherwise = any(part.get(unit) is not None for part in own for unit in _OTHER_UNITS)
    parts = own if otherwise else (*own, _listed(litellm_params, model_info))
    given = [next((value for part in parts if (value := _given(part, field)) is not None), None) for field in _FIELDS]
    return TokenPrices(*map(_number, given))


def _given(part: Mapping[str, Any], field: str) -> Any:
    """Return a price as configured: flat, else that of the first tier."""
    tiers = part.get("tiered_pricing")
    if part.get(field) is not None or not isinstance(tiers, list) or not tiers or not isinstance(tiers[0], dict):
        return part.get(field)
    return tiers[0].get(field)


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _listed(litellm_params: Mapping[str, Any], model_info: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the entry of LiteLLM's list by which it counts a deployment's spend.

    Empty when there is none.
    """
    model, region = str(litellm_params.get("model") or ""), litellm_params.get("aws_region_name")
    base = litellm_params.get("base_model") or model_info.get("base_model")
    provider = _provider(litellm_params.get("custom_llm_provider"), model)
    key = _KEYS.get(str(base), provider) if base else None
    key = key or _KEYS.get(model, provider, "" if base else str(region or ""))
    return (litellm.model_cost.get(key) if key else None) or {}


def _provider(custom: object, model: str) -> str:
    """Return LiteLLM's provider of a deployment; empty without one."""
    if isinstance(custom, str) and custom:
        return custom
    first, slash, _ = model.partition("/")
    return first if slash else ""


class _Keys:
    """Cache of the keys under which LiteLLM's list has models.

    It is valid while the list has the same entries. A search takes 0.04 to 1 ms and is needed for responses too. Prices
    may change and are not cached.
    """

    _LIMIT = 4096
    """Number of cached names; callers can create new ones under a wildcard."""

    def __init__(self) -> None:
        self._list: object = None
        self._entries = 0
        self._known: dict[tuple[str, str, str], str | None] = {}

    def get(self, model: str, provider: str, region: str = "") -> str | None:
        """Return the key of a model; None when the list does not have it.

        Args:
            model: name in LiteLLM's parameters, with or without its provider.
            provider: LiteLLM's provider; empty when none is named.
            region: region of Bedrock; some regions have prices of their own.
        """
        listed = litellm.model_cost
        if self._list is not listed or self._entries != len(listed) or len(self._known) >= self._LIMIT:
            self._list, self._entries, self._known = listed, len(listed), {}
        known, name = self._known, (model, provider, region)
        if name not in known:
            known[name] = next((key for key in _keys(model, provider, region) if key in listed), None)
        return known[name]


_KEYS = _Keys()


def _keys(model: str, provider: str, region: str) -> Iterator[str]:
    """Yield possible keys of a model, in the order in which LiteLLM tries them."""
    if provider in ("bedrock", "bedrock_converse") and region:
        yield f"bedrock/{region}/{model.rpartition('/')[2]}"
    if provider in _ASKED_OVER_THE_NETWORK:
        yield from (model, f"{provider}/{model}")
        return
    if not provider:
        yield model
        provider = "openai"  # fine-tuned and dated models: the list has the beginning of their names
    yield from _looked_up(model, provider)
    if rest := model.partition("/")[2]:  # the provider named twice, or another one by ``base_model``
        yield from _looked_up(rest, provider)


def _looked_up(model: str, provider: str) -> Iterator[str]:
    try:
        yield str(litellm.get_model_info(model=model, custom_llm_provider=provider)["key"])
    except Exception:  # LiteLLM raises a plain Exception for a model that is not in its list
        return
