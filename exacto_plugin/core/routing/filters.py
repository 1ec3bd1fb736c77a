"""Hard filters: remove deployments by name, price or declared property.

Pure: candidates in, candidates out. Each filter only removes candidates, independently of the others, so their order
does not change the result. The source of a filter, and the effect of an empty result on the request, are not handled
here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from exacto_plugin.core.model import Candidate
    from exacto_plugin.core.routing.policy import Filter, Policy

    _Check = Callable[[Candidate], bool]

UNKNOWN_QUANTIZATION = "unknown"
"""The value in ``quantizations`` for deployments that declare none.
The word is OpenRouter's."""


def same_provider(asked: str, provider: str) -> bool:
    """Check that a provider slug means ``provider``; a base slug includes endpoints.

    Case and LiteLLM's ``_ai`` ending make no difference, and a space or an underscore is a hyphen: ``Fireworks`` means
    ``fireworks_ai``.
    """
    wanted, have = plain_provider(asked), plain_provider(provider)
    return wanted == have or have.startswith(f"{wanted}/")


@lru_cache(maxsize=4096)
def plain_provider(provider: str) -> str:
    """Normalize a provider's name, for instance to ``fireworks/turbo``."""
    base, slash, endpoint = re.sub(r"[\s_]+", "-", provider.strip().lower()).partition("/")
    return f"{base.removesuffix('-ai')}{slash}{endpoint}"


def matches(entry: str, candidate: Candidate) -> bool:
    """Check that a list entry names this deployment, by deployment id or provider."""
    return entry in (candidate.id, candidate.key) or same_provider(entry, candidate.provider)


class NamedList:
    """A list of entries as ``matches`` reads them, in which a deployment is looked up.

    The list is read once, however many deployments are looked up: a client may name any number of providers.
    """

    __slots__ = ("_by_id", "_by_provider", "length")

    def __init__(self, entries: Sequence[str]) -> None:
        self.length = len(entries)
        self._by_id: dict[str, int] = {}
        self._by_provider: dict[str, int] = {}
        for place, entry in enumerate(entries):
            self._by_id.setdefault(entry, place)
            self._by_provider.setdefault(plain_provider(entry), place)

    def place(self, candidate: Candidate) -> int:
        """Return the place of the first entry for a deployment, else ``length``."""
        have = plain_provider(candidate.provider)
        bases = (have[: slash.start()] for slash in re.finditer("/", have))
        places = [self._by_id.get(name, self.length) for name in (candidate.id, candidate.key)]
        return min(*places, *(self._by_provider.get(name, self.length) for name in (have, *bases)))

    def names(self, candidate: Candidate) -> bool:
        """Check that any entry names this deployment."""
        return self.place(candidate) < self.length


def providers_of(candidates: Iterable[Candidate]) -> list[str]:
    """Return the distinct providers, sorted."""
    return sorted({candidate.provider for candidate in candidates if candidate.provider})


def _affordable(caps: Sequence[tuple[str, float]], *, unknown: bool = False) -> _Check:
    """Check that prices per million tokens are at most the caps.

    An unknown price counts as too high unless ``unknown`` is True.
    """

    def fits(price: float | None, cap: float) -> bool:
        # Prices are written per token and caps per million, so equal ones differ by a rounding error.
        return unknown if price is None else price * 1e6 <= cap * (1 + 1e-9)

    def check(candidate: Candidate) -> bool:
        prices = {"prompt": candidate.prompt_price, "completion": candidate.completion_price}
        return all(fits(prices[kind], cap) for kind, cap in caps)

    return check


def _named(entries: Sequence[str]) -> _Check:
    return NamedList(entries).names


def _not_named(entries: Sequence[str]) -> _Check:
    named = NamedList(entries)
    return lambda candidate: not named.names(candidate)


def _quantized(wanted: Sequence[str]) -> _Check:
    return lambda candidate: (candidate.quantization or UNKNOWN_QUANTIZATION) in wanted


def _supports(parameters: Sequence[str]) -> _Check:
    return lambda candidate: candidate.parameters is not None and candidate.parameters.issuperset(parameters)


BLOCK = "exacto"
"""The filter of a key's or team's limits that are not a mapping.
It stands for all of these limits and removes every deployment."""

_CHECKS: Mapping[str, Callable[..., _Check]] = {
    BLOCK: lambda _value: lambda _candidate: False,
    "curated": _named,
    "only": _named,
    "ignore": _not_named,
    "max_price": _affordable,
    "quantizations": _quantized,
    "data_collection": lambda wanted: lambda candidate: candidate.data_collection in wanted,
    "zdr": lambda _wanted: lambda candidate: candidate.zdr,
    "require_parameters": _supports,
    "order": _named,
}
"""Every filter by name, in the order of application and of error messages.
Each function returns the check of a filter's value, which is True for a deployment to keep. ``order`` is a hard filter
only for requests without fallbacks."""

NAMES: tuple[str, ...] = tuple(_CHECKS)
"""The names of the hard filters, in the order in which they are applied."""


def reachable(policy: Policy, candidate: Candidate, asked: Collection[str]) -> bool:
    """Check that a request may go on to a deployment.

    A first attempt may go to any. Without fallbacks and without its own ``order``, a later attempt may only go to a
    deployment that the request was already sent to.

    Args:
        policy: the request's policy.
        candidate: a deployment that passes the hard filters.
        asked: LiteLLM ids that this series of attempts in the model group was already sent to.
    """
    return policy.allow_fallbacks or bool(policy.order) or not asked or candidate.id in asked


def _check(filter_: Filter) -> _Check:
    """Return a filter's check; no deployment passes a malformed one."""
    return (lambda _candidate: False) if filter_.expected else _CHECKS[filter_.name](filter_.value)


def passes(filter_: Filter, candidate: Candidate) -> bool:
    """Check that a deployment passes a filter."""
    return _check(filter_)(candidate)


def apply_filters(filters: Sequence[Filter], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that pass every filter."""
    checks = [_check(one) for one in filters]
    return [candidate for candidate in candidates if all(check(candidate) for check in checks)]


def unpriced(filters: Sequence[Filter], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates removed only for an unknown price under ``max_price``."""
    others = [one for one in filters if one.name != "max_price"]
    caps: list[tuple[str, float]] = [cap for one in filters if one.name == "max_price" for cap in one.value]  # type: ignore[misc]
    possible, known = _affordable(caps, unknown=True), _affordable(caps)
    return [one for one in apply_filters(others, candidates) if possible(one) and not known(one)]


def blocking_filters(filters: Sequence[Filter], candidates: Sequence[Candidate]) -> tuple[Filter, ...]:
    """Find a minimal set of filters that together remove every candidate.

    Without any one of the filters in the set, at least one candidate would pass.

    Args:
        filters: in the order of error messages; of several such sets the one with earlier filters is found.
        candidates: the deployments that would be asked without the filters.

    Returns:
        At least one filter if no candidate passes although there are candidates; none otherwise.
    """
    if not candidates or apply_filters(filters, candidates):
        return ()
    found = list(filters)
    for one in reversed(filters):
        others = [other for other in found if other is not one]
        if not apply_filters(others, candidates):
            found = others
    return tuple(found)
