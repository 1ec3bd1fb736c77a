"""Hard filters: which deployments a request may go to at all, by name, price or declared property.

Pure: candidates in, candidates out. Filters only take away, each for itself, so their order makes no difference to what
is left. Who set a filter, and what an empty result means for the request, is not decided here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from exacto_plugin.core.model import Candidate
    from exacto_plugin.core.routing.policy import Filter, Policy

UNKNOWN_QUANTIZATION = "unknown"
"""In ``quantizations``: deployments whose operator declared none. The word is OpenRouter's."""


def same_provider(asked: str, provider: str) -> bool:
    """Whether a provider slug means ``provider``; a base slug matches all of its endpoints.

    Case, spaces, underscores and LiteLLM's ``_ai`` ending make no difference: ``Fireworks`` means ``fireworks_ai``.
    """
    wanted, have = plain_provider(asked), plain_provider(provider)
    return wanted == have or have.startswith(f"{wanted}/")


@lru_cache(maxsize=4096)
def plain_provider(provider: str) -> str:
    """A provider's name without what makes no difference, for instance ``fireworks/turbo``."""
    base, slash, endpoint = re.sub(r"[\s_]+", "-", provider.strip().lower()).partition("/")
    return f"{base.removesuffix('-ai')}{slash}{endpoint}"


def matches(entry: str, candidate: Candidate) -> bool:
    """Whether an entry of a list names this deployment, by deployment id or provider."""
    return entry in (candidate.id, candidate.key) or same_provider(entry, candidate.provider)


def named_by(entries: Sequence[str], candidate: Candidate) -> bool:
    """Whether any entry of a list names this deployment."""
    return any(matches(entry, candidate) for entry in entries)


def providers_of(candidates: Iterable[Candidate]) -> list[str]:
    """The distinct providers, sorted."""
    return sorted({candidate.provider for candidate in candidates if candidate.provider})


def _affordable(caps: Sequence[tuple[str, float]], candidate: Candidate, *, unknown: bool = False) -> bool:
    """Prices per million tokens are at most the caps; an unknown price promises nothing, so it is too high."""
    prices = {"prompt": candidate.prompt_price, "completion": candidate.completion_price}

    def fits(price: float | None, cap: float) -> bool:
        # Prices are written per token and caps per million, so equal ones differ by a rounding error.
        return unknown if price is None else price * 1e6 <= cap * (1 + 1e-9)

    return all(fits(prices[kind], cap) for kind, cap in caps)


def _quantized(wanted: Sequence[str], candidate: Candidate) -> bool:
    return (candidate.quantization or UNKNOWN_QUANTIZATION) in wanted


def _supports(parameters: Sequence[str], candidate: Candidate) -> bool:
    return candidate.parameters is not None and candidate.parameters.issuperset(parameters)


BLOCK = "exacto"
"""As a filter: all limits of a key or team at once, where they stand in something that is no mapping."""

_CHECKS: Mapping[str, Callable[..., bool]] = {
    BLOCK: lambda _value, _candidate: False,
    "curated": named_by,
    "only": named_by,
    "ignore": lambda entries, candidate: not named_by(entries, candidate),
    "max_price": _affordable,
    "quantizations": _quantized,
    "data_collection": lambda wanted, candidate: candidate.data_collection in wanted,
    "zdr": lambda _wanted, candidate: candidate.zdr,
    "require_parameters": _supports,
    "order": named_by,
}
"""Every filter by name, in the order in which they are applied and told: what it keeps, given its value. ``order`` is
one only for requests without fallbacks."""

NAMES: tuple[str, ...] = tuple(_CHECKS)
"""The names of the hard filters, in the order in which they are applied."""


def reachable(policy: Policy, candidate: Candidate, asked: Collection[str]) -> bool:
    """Whether a request may go on to a deployment: without fallbacks, to whom it was sent first, or whom it listed.

    Args:
        policy: what the request asked for.
        candidate: one that the hard filters let pass.
        asked: LiteLLM ids that this walk through the model group was sent to already.
    """
    return policy.allow_fallbacks or bool(policy.order) or not asked or candidate.id in asked


def passes(filter_: Filter, candidate: Candidate) -> bool:
    """Whether a filter lets a deployment pass; a malformed one lets nobody."""
    return not filter_.expected and _CHECKS[filter_.name](filter_.value, candidate)


def apply_filters(filters: Sequence[Filter], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those whom every filter lets pass."""
    return [candidate for candidate in candidates if all(passes(one, candidate) for one in filters)]


def unpriced(filters: Sequence[Filter], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those whom the filters rule out only because a price that ``max_price`` caps is not known."""
    others = [one for one in filters if one.name != "max_price"]
    caps: list[tuple[str, float]] = [cap for one in filters if one.name == "max_price" for cap in one.value]  # type: ignore[misc]
    return [
        candidate
        for candidate in apply_filters(others, candidates)
        if _affordable(caps, candidate, unknown=True) and not _affordable(caps, candidate)
    ]


def blocking_filters(filters: Sequence[Filter], candidates: Sequence[Candidate]) -> tuple[Filter, ...]:
    """The filters because of which nobody is left: without any single one of them somebody would be.

    Args:
        filters: in the order in which they are told; of several such sets the one with earlier filters is found.
        candidates: who would be asked without them.

    Returns:
        At least one filter when nobody passes them though there are candidates; none when somebody does.
    """
    if not candidates or apply_filters(filters, candidates):
        return ()
    found = list(filters)
    for one in reversed(filters):
        others = [other for other in found if other is not one]
        if not apply_filters(others, candidates):
            found = others
    return tuple(found)
