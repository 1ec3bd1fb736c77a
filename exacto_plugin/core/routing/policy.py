"""Builds a :class:`Policy` from slug suffixes, ``provider`` object and defaults.

Handles text and precedence only. The known model names are passed in as a function.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from exacto_plugin.core.model import Sort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SORTING_SUFFIXES: Mapping[str, Sort] = {"exacto": Sort.EXACTO, "floor": Sort.PRICE, "nitro": Sort.THROUGHPUT}
"""The plugin's own suffixes (OpenRouter's virtual variants).
Suffixes such as ``:free`` and ``:batch`` are part of the model name."""

_SUFFIX = re.compile(rf":(?:{'|'.join(SORTING_SUFFIXES)})(?=:|\Z)")

MOST_SUFFIXES = 6
"""Most of these suffixes accepted in one name; three exist.
Measured: without a bound a name of 24 kB took 3 s to split."""

LONGEST_NAME = 512
"""Most characters of a name that is split or looked up.
Any client may send a name of any length, before its key is checked; the longest names of models are below 200."""

BODY_SORTS: Mapping[str, Sort] = {
    "price": Sort.PRICE,
    "throughput": Sort.THROUGHPUT,
    "latency": Sort.LATENCY,
    "exacto": Sort.EXACTO,
}
"""Values of ``provider.sort``."""


class Resolution(Enum):
    """The way in which the router resolves a model name."""

    EXACT = "exact"
    PATTERN = "pattern"
    """Only a wildcard matches the name; it would match a suffixed name as well."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Slug:
    """A model name as the client wrote it, split into base and suffixes."""

    base: str
    suffixes: tuple[str, ...] = ()

    @property
    def sort(self) -> Sort | None:
        """The sort of the last sorting suffix, which takes precedence; None without any."""
        return SORTING_SUFFIXES[self.suffixes[-1]] if self.suffixes else None

    @property
    def curated(self) -> bool:
        """True if ``:exacto`` is among the suffixes, at any position."""
        return "exacto" in self.suffixes


@dataclass(frozen=True, slots=True)
class Filter:
    """A hard filter: a removed deployment is not asked, even if none is left."""

    name: str
    """A name known to :mod:`exacto_plugin.core.routing.filters`."""
    value: tuple[str, ...] | tuple[tuple[str, float], ...]
    """Names; for ``max_price`` pairs of ``prompt`` or ``completion`` and a cap.
    Caps are in USD per million tokens."""
    source: str = ""
    """The source of the filter, in words for the client; empty for the client's own."""
    expected: str = ""
    """The expected value where the given one is malformed; empty otherwise.
    The effect of a malformed filter is unknown, so no deployment passes it."""


@dataclass(frozen=True, slots=True)
class Preference:
    """A preference for a percentile of recent throughput or latency.

    Deployments that miss it are tried later.
    """

    of: Literal["throughput", "latency"]
    percentile: int
    """50, 75, 90 or 99: the percentage of answers at least as good as ``bound``."""
    bound: float
    """Minimum tokens per second, or maximum seconds to the first token."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The request's policy, merged from suffixes, body and defaults."""

    sort: Sort = Sort.AUTO
    explicit: bool = False
    """True if the client asked for the sort (body or suffix); False for a default."""
    curated: bool = False
    """True if ``:exacto`` is among the suffixes, so that a curated list is enforced."""
    order: tuple[str, ...] = ()
    """Providers or deployment ids to try first, in this order; ``sort`` is ``order``."""
    only: tuple[str, ...] = ()
    """The client's own allow-list; empty without one."""
    ignore: tuple[str, ...] = ()
    """The client's own deny-list."""
    allow_fallbacks: bool = True
    """False if only the first deployment (or those in ``order``) may be asked."""
    preferences: tuple[Preference, ...] = ()
    """The client's preferences about throughput and latency."""
    filters: tuple[Filter, ...] = ()
    """All hard filters, the client's and the operator's, in the order of messages."""


def split_slug(slug: str, resolve: Callable[[str], Resolution]) -> Slug:
    """Split the plugin's suffixes off ``slug`` if the remaining name is a known model.

    A name that is configured with its suffix stays whole; the longest configured name takes precedence; a wildcard is
    matched against the name without any of these suffixes. A name that does not resolve, is too long or has too many
    suffixes is returned unchanged, so that LiteLLM's own error shows the name as the client sent it.

    Args:
        slug: the client's model name, for instance ``"moonshotai/kimi-k2:free:exacto"``.
        resolve: returns how the router resolves a name. A wildcard counts only for the name without all the suffixes.
    """
    if len(slug) > LONGEST_NAME:
        return Slug(slug)
    parts = slug.split(":")
    ours = _suffix_indices(parts)
    if not ours or len(ours) > MOST_SUFFIXES:
        return Slug(slug)
    left, name = list(parts), slug
    for keep in range(len(ours), -1, -1):
        if keep < len(ours):
            del left[ours[keep]]
            name = ":".join(left)
        resolution = resolve(name)
        if resolution is Resolution.EXACT or (keep == 0 and resolution is Resolution.PATTERN):
            return Slug(name, tuple(parts[index] for index in ours[keep:]))
    return Slug(slug)


def strip_suffixes(name: str) -> Slug:
    """Split every one of the plugin's suffixes off a name, without any look-up."""
    parts = name.split(":")
    ours = _suffix_indices(parts)
    drop = set(ours)
    base = ":".join(part for index, part in enumerate(parts) if index not in drop)
    return Slug(base, tuple(parts[index] for index in ours))


def has_suffix(name: str) -> bool:
    """Return whether a name has any of the plugin's suffixes."""
    return ":" in name and _SUFFIX.search(name) is not None


def _suffix_indices(parts: Sequence[str]) -> list[int]:
    return [index for index, part in enumerate(parts) if index and part in SORTING_SUFFIXES]


def resolve_policy(slug: Slug, body_sort: Sort | None, default_sort: Sort, order: tuple[str, ...] = ()) -> Policy:
    """Choose the sort: ``order``, body sort, last sorting suffix, configured default.

    The first that is present applies. ``curated`` is True whenever ``:exacto`` is among the suffixes, even under
    another sort.
    """
    if order:
        return Policy(sort=Sort.ORDER, explicit=True, curated=slug.curated, order=order)
    asked = body_sort or slug.sort
    if asked is not None:
        return Policy(sort=asked, explicit=True, curated=slug.curated)
    return Policy(sort=default_sort, explicit=False, curated=False)
