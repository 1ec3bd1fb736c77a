"""What a request asks for: slug suffixes, the ``provider`` object and defaults become one :class:`Policy`.

Pure text and precedence. Which names exist is the caller's knowledge, handed in as a function.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from exacto_plugin.core.model import Sort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SORTING_SUFFIXES: Mapping[str, Sort] = {"exacto": Sort.EXACTO, "floor": Sort.PRICE, "nitro": Sort.THROUGHPUT}
"""The suffixes that are ours (OpenRouter's virtual variants); ``:free``, ``:batch`` and the like are not."""

MOST_SUFFIXES = 6
"""Suffixes of ours in one name; there are three. Measured: without a bound a name of 24 kB took 3 s to take apart."""

BODY_SORTS: Mapping[str, Sort] = {
    "price": Sort.PRICE,
    "throughput": Sort.THROUGHPUT,
    "latency": Sort.LATENCY,
    "exacto": Sort.EXACTO,
}
"""Values of ``provider.sort``."""


class Resolution(Enum):
    """How a model name is known to the router."""

    EXACT = "exact"
    PATTERN = "pattern"
    """Only a wildcard matches it; a wildcard would match a suffixed name just as well."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Slug:
    """A model name as the client wrote it, taken apart."""

    base: str
    suffixes: tuple[str, ...] = ()

    @property
    def sort(self) -> Sort | None:
        """The sort of the last sorting suffix, which wins; None without any."""
        return SORTING_SUFFIXES[self.suffixes[-1]] if self.suffixes else None

    @property
    def curated(self) -> bool:
        """Whether ``:exacto`` is among the suffixes, in whatever place."""
        return "exacto" in self.suffixes


@dataclass(frozen=True, slots=True)
class Filter:
    """A hard filter: what it rules out is not asked, even if nothing is left."""

    name: str
    """One of those that :mod:`exacto_plugin.core.routing.filters` knows."""
    value: tuple[str, ...] | tuple[tuple[str, float], ...]
    """Names; for ``max_price`` pairs of ``prompt`` or ``completion`` and USD per million tokens."""
    source: str = ""
    """Who set it, in words for the client; empty when the client did."""
    expected: str = ""
    """What should stand there, where what does is malformed: nobody knows what it rules out, so nobody passes."""


@dataclass(frozen=True, slots=True)
class Preference:
    """A soft wish about a percentile of recent speed or latency; who misses it is tried later."""

    of: Literal["throughput", "latency"]
    percentile: int
    """50, 75, 90 or 99: the share of answers that have to be as good as ``bound``."""
    bound: float
    """Tokens per second at least, or seconds to the first token at most."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the request asked for, after suffixes, body and defaults were put together."""

    sort: Sort = Sort.AUTO
    explicit: bool = False
    """True when the client asked for the sort (body or suffix); False for a configured default."""
    curated: bool = False
    """True when ``:exacto`` is among the suffixes, so that a configured curated list must hold."""
    order: tuple[str, ...] = ()
    """Providers or deployment ids that the client wants tried first, in this order; the sort is ``order`` then."""
    only: tuple[str, ...] = ()
    """The client's own allow-list; empty without one."""
    ignore: tuple[str, ...] = ()
    """The client's own deny-list."""
    allow_fallbacks: bool = True
    """False when nobody but the first (or those in ``order``) may be asked."""
    preferences: tuple[Preference, ...] = ()
    """The client's soft wishes about speed and latency."""
    filters: tuple[Filter, ...] = ()
    """All hard filters, the client's and the operator's, in the order in which they are told."""


def split_slug(slug: str, resolve: Callable[[str], Resolution]) -> Slug:
    """Take our suffixes off ``slug`` when what is left is a known model.

    A name that is configured with its suffix stays whole; the longest configured name wins; a wildcard is asked
    for the name without any of our suffixes. A name that resolves in no way, or has too many suffixes, comes back
    unchanged, so that LiteLLM's own error names what the client sent.

    Args:
        slug: the client's model name, for instance ``"moonshotai/kimi-k2:free:exacto"``.
        resolve: tells how a name is known to the router.
    """
    parts = slug.split(":")
    ours = [index for index, part in enumerate(parts) if index and part in SORTING_SUFFIXES]
    if not ours or len(ours) > MOST_SUFFIXES:
        return Slug(slug)
    bare = slug
    for keep in range(len(ours), -1, -1):
        drop = set(ours[keep:])
        bare = ":".join(part for index, part in enumerate(parts) if index not in drop)
        if resolve(bare) is Resolution.EXACT:
            return Slug(bare, tuple(parts[index] for index in ours[keep:]))
    if resolve(bare) is Resolution.PATTERN:
        return Slug(bare, tuple(parts[index] for index in ours))
    return Slug(slug)


def resolve_policy(slug: Slug, body_sort: Sort | None, default_sort: Sort, order: tuple[str, ...] = ()) -> Policy:
    """Put the wishes in order: ``order``, body sort, then the last sorting suffix, then the configured default.

    ``curated`` holds whenever ``:exacto`` is among the suffixes, also when another sort wins.
    """
    if order:
        return Policy(sort=Sort.ORDER, explicit=True, curated=slug.curated, order=order)
    asked = body_sort or slug.sort
    if asked is not None:
        return Policy(sort=asked, explicit=True, curated=slug.curated)
    return Policy(sort=default_sort, explicit=False, curated=False)
